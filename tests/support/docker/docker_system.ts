/**
 * A newer dockerd than the machine's: a Debian system in a directory that is `/` for dockerd, containerd and docker.
 *
 * ```
 * .tools/docker-VERSION/     made once by debootstrap, then read-only; anew if the recipe has changed since
 *      │ lowerdir
 *      ▼
 * /                          overlay in a mount namespace inside the sandbox; writes go to a tmpfs
 * ├── proc sys dev           the sandbox's
 * ├── run/docker/plugins     the sandbox's: the plugin listens outside
 * └── <dir>                  the test's directory; mounts in it are visible on both sides
 * ```
 * The namespace has this root only. In a chroot, `docker exec` would run on the machine's root: setns(2) leads to the
 * root of a mount namespace, and runc's pivot_root below a chroot does not change that.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";
import { kill, Sandbox, type SpawnOptions } from "../../../lib/demo/sandbox.ts";
import { findMirror } from "./debian_mirror.ts";
import { REPOSITORY } from "../repository.ts";

const PACKAGES = ["ca-certificates", "iptables", "runc", "containerd", "docker.io", "docker-cli", "docker-buildx"];
/** What a machine of it has besides: machine/systemd_machine.ts. */
const MACHINE_PACKAGES = ["systemd", "libfuse3-4"];

/** Debian's releases, and what is installed of them, by the dockerd that they have. */
const RECIPES = {
  "26.1": { suite: "trixie", packages: PACKAGES },
  /** The unstable one, where it becomes a later one in time. */
  "28": { suite: "sid", packages: [...PACKAGES, ...MACHINE_PACKAGES] },
} as const;

/** Version of a dockerd that can be had this way. */
export type DockerVersion = keyof typeof RECIPES;

/** `<repository>/.tools`, ignored by git. */
const TOOLS = `${REPOSITORY}/.tools`;

/** The Debian system with a dockerd; complete if it exists, but maybe made by an earlier recipe. */
export function dockerSystem(version: DockerVersion): string {
  return `${TOOLS}/docker-${version}`;
}

/** Maximum milliseconds for debootstrap. */
const MAKE_TIMEOUT_MS = 10 * 60_000;

/** Whether $1 is a Debian system of suite $3 with packages $2. */
const IS_MADE = `
is_made() {
  dpkg-query --admindir="$1/var/lib/dpkg" --show $(echo "$2" | tr , ' ') >/dev/null 2>&1 &&
    grep -qs " $3 " "$1/etc/apt/sources.list"
}
`;

/**
 * Makes the Debian system $1 of suite $3 with packages $2 from mirror $4. It is renamed to $1 when complete; until then a
 * system of an earlier recipe stays there.
 */
const MAKE = `${IS_MADE}
set -e
exec 9>"$1.lock"
flock 9
! is_made "$1" "$2" "$3" || exit 0
rm -rf --one-file-system "$1.part" "$1.old"
debootstrap --force-check-gpg --variant=minbase --include="$2" "$3" "$1.part" "$4" 9>&-
rm -rf "$1.part/var/cache/apt/archives"
[ ! -d "$1" ] || mv "$1" "$1.old"
mv "$1.part" "$1"
rm -rf --one-file-system "$1.old"
`;

/** Runs in the sandbox: makes mounts below $1 visible in both namespaces. */
const SHARE = 'mount --bind "$1" "$1" && mount --make-shared "$1"';

/**
 * Runs in a mount namespace inside the sandbox: makes the Debian system $1, with $2 visible in it, the root. Prints its
 * pid.
 */
const PIVOT = `
set -e
base=/run/docker-root root=/run/docker-root/root
mkdir -p $base/upper $base/work $root
mount -t overlay -o "lowerdir=$1,upperdir=$base/upper,workdir=$base/work" overlay $root
for fs in proc sys dev; do mount --rbind /$fs $root/$fs; done
mkdir -p "$root$2" $root/run/docker/plugins $root/old
mount --bind "$2" "$root$2"
mount --bind /run/docker/plugins $root/run/docker/plugins
cd $root
pivot_root . old
mount --make-rprivate /old
umount -l /old
rmdir /old
echo $$
exec sleep infinity
`;

/** Why a dockerd is unavailable; undefined if it can be made or exists already. */
export async function dockerSystemMissing(version: DockerVersion): Promise<string | undefined> {
  if (await isMade(version)) return undefined;
  try {
    await new Deno.Command("debootstrap", { args: ["--version"], stdout: "null", stderr: "null" }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "debootstrap is not installed";
    throw error;
  }
  const { missing } = await findMirror(RECIPES[version].suite);
  return missing;
}

/** Makes the system if it does not exist. Why it cannot be made; undefined if it is there. */
export async function makeDockerSystem(version: DockerVersion): Promise<string | undefined> {
  const missing = await dockerSystemMissing(version);
  if (missing !== undefined) return missing;
  try {
    if (!await isMade(version)) await makeSystem(version);
    return undefined;
  } catch (error) {
    if (error instanceof NydusGdError) return error.message;
    throw error;
  }
}

/** The Debian system, running inside a sandbox. */
export class DockerSystem implements Pick<Sandbox, "spawn">, AsyncDisposable {
  private constructor(
    private readonly sandbox: Sandbox,
    private readonly holder: Deno.ChildProcess,
    /** Pid, within the sandbox, of the process that keeps the namespace. */
    private readonly pid: string,
  ) {}

  /**
   * Makes the system if it does not exist, then the namespace.
   *
   * @param version of dockerd
   * @param dir absolute path of the directory visible to both sides; nothing is mounted below it yet
   * @throws {NydusGdError} "environment" with the last lines of the program that failed
   */
  static async open(version: DockerVersion, sandbox: Sandbox, dir: string): Promise<DockerSystem> {
    const system = dockerSystem(version);
    if (!await isMade(version)) await makeSystem(version);
    await run(sandbox, "sh", ["-c", SHARE, "sh", dir]);
    const args = ["--mount", "--propagation", "unchanged", "sh", "-c", PIVOT, "sh", system, dir];
    const holder = sandbox.spawn("unshare", args, { stdout: "piped" });
    const reader = holder.stdout.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    if (value === undefined) {
      await holder.status;
      throw new NydusGdError("environment", `Cannot show ${system} to dockerd: mounting it failed`);
    }
    return new DockerSystem(sandbox, holder, new TextDecoder().decode(value).trim());
  }

  /** Starts a program of the system, like {@link Sandbox.spawn}. */
  spawn(program: string, args: string[], options?: SpawnOptions): Deno.ChildProcess {
    return this.sandbox.spawn("nsenter", ["--target", this.pid, "--mount", "--", program, ...args], options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.holder, "SIGKILL");
    await this.holder.status;
  }
}

/** Runs debootstrap in a sandbox of its own, as it mounts /proc in what it makes. */
async function makeSystem(version: DockerVersion): Promise<void> {
  const [system, { suite, packages }] = [dockerSystem(version), RECIPES[version]];
  const { url, missing } = await findMirror(suite);
  if (url === undefined) throw new NydusGdError("environment", `Cannot make ${system}: ${missing}`);
  await Deno.mkdir(TOOLS, { recursive: true });
  await using sandbox = await Sandbox.start();
  await run(sandbox, "sh", ["-c", MAKE, "sh", system, packages.join(","), suite, url]);
}

/** Whether the system is there, and as this recipe makes it: an earlier one had fewer packages. */
async function isMade(version: DockerVersion): Promise<boolean> {
  const { suite, packages } = RECIPES[version];
  return await isSystem(dockerSystem(version), packages.join(","), suite);
}

/** Whether a folder is a Debian system of that suite with these packages, separated by commas. */
export async function isSystem(folder: string, packages: string, suite: string): Promise<boolean> {
  const script = `${IS_MADE}\nis_made "$@"`;
  return (await new Deno.Command("sh", { args: ["-c", script, "sh", folder, packages, suite] }).output()).success;
}

/** Runs a program inside to completion. */
async function run(sandbox: Sandbox, program: string, args: string[]): Promise<void> {
  const child = sandbox.spawn(program, args, { stdout: "piped", stderr: "piped" });
  // child processes that survive this die with the sandbox
  const timeout = setTimeout(() => child.kill("SIGKILL"), MAKE_TIMEOUT_MS);
  const { success, stdout, stderr } = await child.output();
  clearTimeout(timeout);
  if (success) return;
  const said = new TextDecoder().decode(new Uint8Array([...stdout, ...stderr])).trim().split("\n").slice(-3).join("; ");
  throw new NydusGdError("environment", `Cannot run ${program} for another dockerd: ${said}`);
}
