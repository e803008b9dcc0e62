/**
 * A PC with its own kernel, for tests that this machine's kernel cannot run or must not be exposed to.
 *
 * ```ts
 * await using vm = await VirtualMachine.start({ kernel: "6.12", disks: [disk], watchdogMs: 10 * 60_000 });
 * await vm.must("mount -t tmpfs tmpfs /mnt");
 * await vm.cut(); // as if its power had gone
 * ```
 * ```
 * this machine's /              read-only by virtiofs: programs, the repository, everything at the same path
 *      │ lowerdir
 * the machine's /               overlay, upper in its memory
 * ├── proc sys dev run          its own
 * ├── exchange                  a folder shared read-write: scripts, their output, results of tests
 * └── data, …                   disks, which outlive it
 * ```
 * It is emulated, an order of magnitude slower than the host, and has no network but loopback. A watchdog terminates it
 * in any case. Shared folders other than /exchange must not change while it runs.
 *
 * @module
 */
import { ignore, NydusGdError } from "../../../lib/base/errors.ts";
import { endProcess } from "../process/end_process.ts";
import { TempDir } from "../temp_dir.ts";
import { type GuestDisk, mountScript } from "./disk.ts";
import { GuestPort } from "./guest_port.ts";
import { type Kernel, type KernelSeries, prepareKernel } from "./kernel.ts";
import { makeInitrd, QEMU, qemuArguments } from "./qemu.ts";
import { SharedFolder } from "./shared_folder.ts";

const GUEST = decodeURIComponent(new URL("guest.sh", import.meta.url).pathname);

const DEFAULT_MEMORY_MIB = 3072;
/** Lines of the console shown in an error. */
const CONSOLE_LINES = 40;
/** Lines of a command's output shown in an error. */
const OUTPUT_LINES = 60;

/** Options of a machine. */
export interface MachineOptions {
  readonly kernel: KernelSeries;
  /** Default 3072. Memory is allocated as used. */
  readonly memoryMib?: number;
  readonly disks?: readonly GuestDisk[];
  /** Maximum lifetime in milliseconds. */
  readonly watchdogMs: number;
}

/** Result of a script run in the machine. */
export interface ScriptOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running machine, from {@link VirtualMachine.start} until it is cut or disposed. */
export class VirtualMachine implements AsyncDisposable {
  readonly #temp: TempDir;
  /** Its resources on the host. */
  readonly #parts: AsyncDisposableStack;
  readonly #qemu: Deno.ChildProcess;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  #port: GuestPort | undefined;
  #scripts = 0;
  /** Why it ended, once it has. */
  #end: string | undefined;

  private constructor(temp: TempDir, parts: AsyncDisposableStack, qemu: Deno.ChildProcess, watchdogMs: number) {
    this.#temp = temp;
    this.#parts = parts;
    this.#qemu = qemu;
    const seconds = Math.round(watchdogMs / 1000);
    this.#watchdog = setTimeout(() => this.#kill(`it was ended by its watchdog after ${seconds} s`), watchdogMs);
    qemu.status.then(({ code }) => this.#end ??= `it ended by itself, qemu with ${code}`);
  }

  /**
   * Boots the machine and mounts its disks.
   *
   * @throws {NydusGdError} "environment" if the kernel cannot be built, or the machine does not come up in time
   */
  static async start(options: MachineOptions): Promise<VirtualMachine> {
    const kernel = await prepareKernel(options.kernel);
    const { machine, listener } = await VirtualMachine.#switchOn(kernel, options);
    try {
      await machine.#boot(listener, `${setUpScript(kernel)}\n${mountScript(options.disks ?? [])}`);
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #switchOn(
    kernel: Kernel,
    { memoryMib = DEFAULT_MEMORY_MIB, disks = [], watchdogMs }: MachineOptions,
  ): Promise<{ machine: VirtualMachine; listener: Deno.UnixListener }> {
    await using parts = new AsyncDisposableStack();
    const temp = parts.use(TempDir.make());
    const initrd = temp.join("initrd");
    await makeInitrd(kernel, temp.path, initrd);
    await Deno.mkdir(temp.join("exchange"));
    await Deno.copyFile(GUEST, temp.join("exchange/guest.sh"));
    const share = async (tag: string, folder: string, writable: boolean) =>
      parts.use(await SharedFolder.start({ tag, folder, writable, dir: temp.path }));
    const folders = [await share("host", "/", false), await share("exchange", temp.join("exchange"), true)];
    const portSocket = temp.join("port.sock");
    const listener = Deno.listen({ transport: "unix", path: portSocket });
    const images = disks.map(({ path }) => path);
    const consolePath = temp.join("console");
    const args = qemuArguments({ kernel, initrd, memoryMib, disks: images, folders, portSocket, consolePath });
    const qemu = new Deno.Command(QEMU, { args, stdin: "null", stdout: "null", detached: true }).spawn();
    return { machine: new VirtualMachine(temp, parts.move(), qemu, watchdogMs), listener };
  }

  async #boot(listener: Deno.UnixListener, setUp: string): Promise<void> {
    this.#port = await GuestPort.accept(listener, this.#qemu.status);
    if (await this.#port?.ready !== true) throw await this.#ended("while it booted");
    await this.must(setUp);
  }

  /** The host folder that the machine sees as /exchange. */
  get exchange(): string {
    return this.#temp.join("exchange");
  }

  /**
   * Runs a shell script to its end. Scripts may run concurrently.
   *
   * @throws {NydusGdError} "unavailable" if the machine ends first, with the last output of script and console
   */
  async run(script: string): Promise<ScriptOutcome> {
    const id = String(++this.#scripts);
    const path = `${this.exchange}/${id}`;
    await Deno.writeTextFile(`${path}.sh`, `${script}\n`);
    const code = await this.#port?.run(id);
    const [stdout, stderr] = [await textOf(`${path}.out`), await textOf(`${path}.err`)];
    if (code !== undefined) return { code, stdout, stderr };
    throw await this.#ended(`while it ran\n${script}\n${lastLines(stdout + stderr, OUTPUT_LINES)}`);
  }

  /** Runs a script that must succeed; returns its trimmed output. */
  async must(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(script);
    if (code === 0) return stdout.trim();
    throw new Error(
      `a script ended with ${code} in the machine: ${lastLines(stderr || stdout, OUTPUT_LINES)}\n${script}`,
    );
  }

  /** Output on its console. */
  console(): Promise<string> {
    return textOf(this.#temp.join("console"));
  }

  /**
   * Ends it like a power cut. Disks keep what was sent to them; data in its memory is lost, and the last writes may be
   * incomplete.
   */
  async cut(): Promise<void> {
    this.#kill("its power was cut");
    await this.#qemu.status;
    await this.#port?.[Symbol.asyncDispose]();
    this.#port = undefined;
  }

  /** {@link cut}, and releases its resources on the host, except for its disks. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut();
    await this.#parts.disposeAsync();
  }

  #kill(reason: string): void {
    clearTimeout(this.#watchdog);
    this.#end ??= reason;
    endProcess(this.#qemu);
  }

  async #ended(when: string): Promise<NydusGdError> {
    await this.#qemu.status;
    const said = lastLines(await this.console(), CONSOLE_LINES);
    return new NydusGdError("unavailable", `Cannot use virtual machine: ${this.#end} ${when}\nits console:\n${said}`);
  }
}

/** Set-up that systemd and udev do elsewhere. */
function setUpScript({ modules }: Kernel): string {
  return `set -e
mount --make-rshared /
mkdir -p /lib/modules
mount --bind ${modules} /lib/modules
modprobe -a fuse loop cachefiles erofs
mount -t fusectl fusectl /sys/fs/fuse/connections`;
}

async function textOf(path: string): Promise<string> {
  return await ignore(Deno.errors.NotFound, Deno.readTextFile(path)) ?? "";
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
