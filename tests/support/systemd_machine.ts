/**
 * A machine with systemd as its process 1, layered on this one: units of Debian's packages, files of its own.
 *
 * ```
 * this machine's /                      lowerdir, read-only
 *      │
 * overlay, upper on a tmpfs             the machine's /: writes are discarded with it
 * ├── proc (sys read-only) sys dev run  its own, in a PID namespace with systemd as 1
 * ├── sys/fs/cgroup                     a cgroup of its own as the root
 * └── var/lib/{docker,containerd,nydus-gd}   directories of the test: layers need a file system that is not an overlay
 * ```
 * It shares this machine's network, so a dockerd in it must not have a bridge. Only journald and what a test starts
 * run: units that would affect the host (sysctl, udev, kernel modules, clock) are not pulled in.
 *
 * @module
 */
import { parseMountinfo } from "../../ffi/mountinfo.ts";
import { readProcessFile } from "../../ffi/procfs.ts";
import { ignore } from "../../lib/base/errors.ts";
import { TempDir } from "./temp_dir.ts";

const SYSTEMD = "/lib/systemd/systemd";
const STATE_FOLDERS = ["docker", "containerd", "nydus-gd"];
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 50;

/** Runs in the new namespaces: $1 is the scratch directory of the test. Becomes systemd. */
const BOOT = `
set -e
base=$1/base root=$1/base/root
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$root"
units=$root/usr/lib/systemd/system
for target in sysinit local-fs sockets multi-user timers graphical basic; do rm -rf "$units/$target.target.wants"; done
find "$root/etc/systemd/system" -mindepth 1 -delete
mkdir "$units/sockets.target.wants"
for unit in systemd-journald.socket systemd-journald-dev-log.socket; do
  ln -s "../$unit" "$units/sockets.target.wants/$unit"
done
for unit in systemd-journald-audit.socket systemd-remount-fs.service; do
  ln -s /dev/null "$root/etc/systemd/system/$unit"
done
: >"$root/etc/machine-id"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/sys/fs/cgroup" 2>/dev/null || true
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for node in null zero full random urandom tty fuse; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
for folder in ${STATE_FOLDERS.join(" ")}; do
  mkdir -p "$root/var/lib/$folder"
  mount --bind "$1/$folder" "$root/var/lib/$folder"
done
mkdir -p "$root/outside"
mount --bind "$1/outside" "$root/outside"
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=nydus-gd-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
  ${SYSTEMD} --system --unit=multi-user.target --log-target=null --show-status=no
`;

/** Moves itself into the cgroup $1, then runs the rest of its arguments. */
const ENTER = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"';

/** Result of a command in the machine. */
export interface CommandOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Why it is unavailable; undefined if it is available. */
export async function systemdMachineMissing(): Promise<string | undefined> {
  if (Deno.uid() !== 0) return "not root";
  for (const path of [SYSTEMD, "/dev/fuse"]) {
    if (await ignore(Deno.errors.NotFound, Deno.stat(path)) === undefined) return `there is no ${path}`;
  }
  const hierarchy = cgroupRoot();
  if (hierarchy === undefined) return "no cgroup v2 is mounted";
  const probe = `${hierarchy}/nydus-gd-probe-${Deno.pid}`;
  try {
    await Deno.mkdir(probe);
    await Deno.remove(probe);
    return undefined;
  } catch (error) {
    return `no cgroup can be made in ${hierarchy}: ${error instanceof Error ? error.message : error}`;
  }
}

function cgroupRoot(): string | undefined {
  const mounts = parseMountinfo(Deno.readTextFileSync("/proc/self/mountinfo"));
  return mounts.find(({ fsType }) => fsType === "cgroup2")?.mountPoint;
}

/** The machine, running from {@link SystemdMachine.start} until disposed. */
export class SystemdMachine implements AsyncDisposable {
  readonly #temp: TempDir;
  readonly #cgroup: string;
  readonly #unshare: Deno.ChildProcess;
  #init = 0;

  private constructor(temp: TempDir, cgroup: string, unshare: Deno.ChildProcess) {
    this.#temp = temp;
    this.#cgroup = cgroup;
    this.#unshare = unshare;
  }

  /** Boots it. */
  static async start(): Promise<SystemdMachine> {
    const temp = TempDir.make();
    for (const folder of ["base", "outside", ...STATE_FOLDERS]) await Deno.mkdir(temp.join(folder));
    const cgroup = `${cgroupRoot()}/nydus-gd-test-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
    await Deno.mkdir(cgroup);
    const namespaces = ["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL"];
    const boot = ["unshare", ...namespaces, "--propagation", "private", "sh", "-c", BOOT, "sh", temp.path];
    const child = new Deno.Command("sh", {
      args: ["-c", ENTER, "sh", cgroup, ...boot],
      stdin: "null",
      stdout: "null",
      detached: true,
    }).spawn();
    const machine = new SystemdMachine(temp, cgroup, child);
    try {
      await machine.#wait();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A directory that is /outside in the machine. */
  get outside(): string {
    return this.#temp.join("outside");
  }

  /** Runs a program in the machine to completion. */
  async run(program: string, ...args: string[]): Promise<CommandOutcome> {
    const inside = [
      "--target",
      String(this.#init),
      "--mount",
      "--pid",
      "--uts",
      "--ipc",
      "--cgroup",
      "--root",
      "--wd",
      "--",
    ];
    const { code, stdout, stderr } = await new Deno.Command("nsenter", {
      args: [...inside, program, ...args],
      clearEnv: true,
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root", LC_ALL: "C" },
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  /** Runs a program that must succeed; returns its trimmed output. */
  async must(program: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(program, ...args);
    if (code === 0) return stdout.trim();
    throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${stderr || stdout}\n${await this.#journal()}`);
  }

  /** Writes a file of the machine. */
  async write(path: string, text: string): Promise<void> {
    await Deno.writeTextFile(`${this.outside}/file`, text);
    await this.must("install", "-D", "-m", "0644", "/outside/file", path);
  }

  async #journal(): Promise<string> {
    const { stdout } = await this.run("journalctl", "--no-pager", "-n", "40", "-o", "cat");
    return stdout;
  }

  /** systemd is the child of unshare, which sh has become by exec */
  async #wait(): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    let ended = false;
    this.#unshare.status.then(() => ended = true);
    for (;;) {
      const children = `/proc/${this.#unshare.pid}/task/${this.#unshare.pid}/children`;
      this.#init = Number((await ignore(Deno.errors.NotFound, Deno.readTextFile(children)))?.trim() || 0);
      if (this.#init > 0 && comm(this.#init) === "systemd") {
        const { stdout } = await this.run("systemctl", "is-system-running");
        if (/running|degraded/.test(stdout)) return;
      }
      if (ended || Date.now() > deadline) throw new Error("the machine did not boot");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#init > 0) killIfThere(this.#init);
    killIfThere(this.#unshare.pid);
    await this.#unshare.status;
    await removeCgroup(this.#cgroup);
    this.#temp[Symbol.dispose]();
  }
}

function comm(pid: number): string | undefined {
  return readProcessFile(pid, "comm")?.trim();
}

function killIfThere(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Removes a cgroup, retrying while its last processes exit: it is busy until then. */
async function removeCgroup(path: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(path)) if (isDirectory) await removeCgroup(`${path}/${name}`);
  for (let waitedMs = 0;; waitedMs += POLL_MS) {
    try {
      return await Deno.remove(path);
    } catch (error) {
      if (waitedMs > START_TIMEOUT_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}
