/**
 * A machine with systemd as its process 1, layered on this one or on another Debian: units of its packages, files of its
 * own. It can be rebooted, and its power can be cut.
 *
 * ```
 * this machine's /, or a Debian         lowerdir, read-only
 *      │
 * overlay, upper on a tmpfs             the machine's /: writes are discarded with it
 * ├── proc (sys read-only) sys dev run  its own, in a PID namespace with systemd as 1; new with every boot
 * ├── sys/fs/cgroup                     a cgroup of its own as the root
 * └── var/lib/{docker,containerd,nydus-gd}   directories of the test: layers need a file system that is not an overlay
 * ```
 * It shares this machine's network, so a dockerd in it must not have a bridge. Only journald and what a test starts
 * or enables run: units that would affect the host (sysctl, udev, kernel modules, clock) are not pulled in.
 *
 * @module
 */
import { parseMountinfo } from "../../../ffi/mountinfo.ts";
import { readProcessFile } from "../../../ffi/procfs.ts";
import { delay, whenAborted } from "../../../lib/base/abort.ts";
import { ignore } from "../../../lib/base/errors.ts";
import { TempDir } from "../temp_dir.ts";
import { Tmpfs } from "../tmpfs.ts";
import { PATIENCE_MS } from "../until.ts";

const SYSTEMD = "/lib/systemd/systemd";
const STATE_FOLDERS = ["docker", "containerd", "nydus-gd"];
const POLL_MS = 50;

/** Mounts the machine's / at $root: $1 is the tmpfs with what it writes, $2 the system below. */
const MOUNT_ROOT = `
set -e
base=$1 root=$1/root
mount -t overlay -o "lowerdir=$2,upperdir=$base/upper,workdir=$base/work" overlay "$root"
`;

/** Leaves only journald of the units that start by themselves. */
const PREPARE = `${MOUNT_ROOT}
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
for folder in ${STATE_FOLDERS.join(" ")}; do mkdir -p "$root/var/lib/$folder"; done
mkdir -p "$root/outside" "$root/old"
`;

/** Runs in the new namespaces: $3 is the scratch directory of the test. Becomes systemd. */
const BOOT = `${MOUNT_ROOT}
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
for folder in ${STATE_FOLDERS.join(" ")}; do mount --bind "$3/$folder" "$root/var/lib/$folder"; done
mount --bind "$3/outside" "$root/outside"
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

/** What exists from a boot until the next one. */
interface Boot {
  readonly cgroup: string;
  readonly unshare: Deno.ChildProcess;
  /** Process 1 of the machine, seen from outside. */
  readonly init: number;
}

/** The machine, running from {@link SystemdMachine.start} until disposed. */
export class SystemdMachine implements AsyncDisposable {
  #boot: Boot | undefined;

  private constructor(
    /** Its system below what it writes. */
    private readonly system: string,
    private readonly temp: TempDir,
    /** What it writes, besides the state folders. */
    private readonly written: Tmpfs,
    private readonly parts: DisposableStack,
  ) {}

  /** Boots it. @param system path of a Debian with systemd; absent: this machine's / */
  static async start(system = "/"): Promise<SystemdMachine> {
    using parts = new DisposableStack();
    const temp = parts.use(TempDir.make());
    for (const folder of ["outside", ...STATE_FOLDERS]) await Deno.mkdir(temp.join(folder));
    const written = parts.use(new Tmpfs());
    for (const folder of ["upper", "work", "root"]) await Deno.mkdir(written.join(folder));
    const args = ["--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh", written.path, system];
    const { success, stderr } = await new Deno.Command("unshare", { args, stdin: "null" }).output();
    if (!success) throw new Error(`Cannot prepare a machine: ${new TextDecoder().decode(stderr)}`);
    const machine = new SystemdMachine(system, temp, written, parts.move());
    try {
      await machine.#start();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Has systemd stop everything, and boots it again. */
  async reboot(): Promise<void> {
    await this.run("systemctl", "reboot");
    const { unshare } = this.#running();
    const timeout = AbortSignal.timeout(PATIENCE_MS);
    const ended = await Promise.race([unshare.status, whenAborted(timeout).then(() => undefined)]);
    if (ended === undefined) throw new Error(`the machine did not stop: ${await this.#journal()}`);
    await this.#stop();
    await this.#start();
  }

  /** Ends everything at once, and boots it again. What was written is there, synced or not. */
  async crash(): Promise<void> {
    await this.#stop();
    await this.#start();
  }

  /** A directory that is /outside in the machine. */
  get outside(): string {
    return this.temp.join("outside");
  }

  /** Runs a program in the machine to completion. */
  async run(program: string, ...args: string[]): Promise<CommandOutcome> {
    const inside = [
      "--target",
      String(this.#running().init),
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

  /** Lists the processes of our service: its daemon, and keepers, which outlive it. */
  async ourProcesses(): Promise<string> {
    const find = "grep -lasEz '^serve$' /proc/[0-9]*/cmdline; grep -las nydus-gd.service /proc/[0-9]*/cgroup";
    return (await this.run("sh", "-c", find)).stdout;
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

  #running(): Boot {
    return this.#boot ?? fail("the machine is off");
  }

  async #start(): Promise<void> {
    const cgroup = `${cgroupRoot()}/nydus-gd-test-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
    await Deno.mkdir(cgroup);
    const namespaces = ["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL"];
    const paths = [this.written.path, this.system, this.temp.path];
    const boot = ["unshare", ...namespaces, "--propagation", "private", "sh", "-c", BOOT, "sh", ...paths];
    const unshare = new Deno.Command("sh", {
      args: ["-c", ENTER, "sh", cgroup, ...boot],
      stdin: "null",
      stdout: "null",
      detached: true,
    }).spawn();
    this.#boot = { cgroup, unshare, init: 0 };
    await this.#wait();
  }

  /** systemd is the child of unshare, which sh has become by exec */
  async #wait(): Promise<void> {
    const { cgroup, unshare } = this.#running();
    const deadline = performance.now() + PATIENCE_MS;
    let ended = false;
    unshare.status.then(() => ended = true);
    for (;;) {
      const children = `/proc/${unshare.pid}/task/${unshare.pid}/children`;
      const init = Number((await ignore(Deno.errors.NotFound, Deno.readTextFile(children)))?.trim() || 0);
      if (init > 0 && comm(init) === "systemd") {
        this.#boot = { cgroup, unshare, init };
        const { stdout } = await this.run("systemctl", "is-system-running");
        if (/running|degraded/.test(stdout)) return;
      }
      if (ended || performance.now() > deadline) throw new Error("the machine did not boot");
      await delay(POLL_MS);
    }
  }

  async #stop(): Promise<void> {
    if (this.#boot === undefined) return;
    const { init, unshare, cgroup } = this.#boot;
    if (init > 0) killIfThere(init);
    killIfThere(unshare.pid);
    await unshare.status;
    await removeCgroup(cgroup);
    this.#boot = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    this.parts.dispose();
  }
}

function fail(message: string): never {
  throw new Error(message);
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
      if (waitedMs > PATIENCE_MS) throw error;
      await delay(POLL_MS);
    }
  }
}
