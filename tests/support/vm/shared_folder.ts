/**
 * A folder of this machine that a virtual one mounts by its tag: virtiofsd, a process for each.
 *
 * The daemon sees other mounts below the folder as part of it. It ends when its machine does.
 *
 * @module
 */
import { NydusGdError } from "../../../lib/base/errors.ts";
import { isInstalled } from "./kernel.ts";

/** Where Debian 12 has it, as a part of qemu-system-common, and where the package of Debian 13 does. */
const PROGRAMS = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 10;

/** What is shared. */
export interface SharedFolderOptions {
  /** What the machine mounts: `mount -t virtiofs TAG /mnt`. */
  readonly tag: string;
  readonly folder: string;
  /** Whether both sides write: nothing is cached then. Else files must not change while the machine runs. */
  readonly writable: boolean;
  /** Where socket and log are. */
  readonly dir: string;
}

/** Why no folder can be shared; undefined when it can. */
export async function virtiofsdMissing(): Promise<string | undefined> {
  return await findProgram() === undefined ? "virtiofsd is not installed" : undefined;
}

async function findProgram(): Promise<string | undefined> {
  for (const program of PROGRAMS) if (await isInstalled(program)) return program;
  return undefined;
}

/** A running virtiofsd. */
export class SharedFolder implements AsyncDisposable {
  private constructor(
    private readonly child: Deno.ChildProcess,
    readonly tag: string,
    /** What qemu connects to. */
    readonly socket: string,
  ) {}

  /** Starts it and waits until its socket is there. */
  static async start({ tag, folder, writable, dir }: SharedFolderOptions): Promise<SharedFolder> {
    const program = await findProgram();
    if (program === undefined) throw new NydusGdError("environment", "Cannot share a folder: no virtiofsd");
    const socket = `${dir}/${tag}.sock`;
    const cache = writable ? "none" : "always";
    const options = ["-o", `source=${folder}`, "-o", `cache=${cache}`, "-o", "sandbox=chroot"];
    const child = new Deno.Command("sh", {
      args: ["-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", `${dir}/${tag}.log`, program, ...[
        `--socket-path=${socket}`,
        ...options,
      ]],
      stdin: "null",
      detached: true,
    }).spawn();
    const shared = new SharedFolder(child, tag, socket);
    if (await appears(socket, child)) return shared;
    await shared[Symbol.asyncDispose]();
    const log = await Deno.readTextFile(`${dir}/${tag}.log`);
    throw new NydusGdError("environment", `Cannot share ${folder}: ${log.trim().split("\n").at(-1)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    endProcess(this.child);
    await this.child.status;
  }
}

/** SIGKILL, to whom it still concerns. */
export function endProcess(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended
  }
}

async function appears(path: string, child: Deno.ChildProcess): Promise<boolean> {
  let ended = false;
  child.status.then(() => ended = true);
  for (let waitedMs = 0; waitedMs < START_TIMEOUT_MS && !ended; waitedMs += POLL_MS) {
    try {
      await Deno.stat(path);
      return true;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}
