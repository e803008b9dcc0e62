/**
 * A host folder that a virtual machine mounts by its tag; one virtiofsd process each.
 *
 * The daemon treats other mounts below the folder as part of it. It ends with its machine.
 *
 * @module
 */
import { delay } from "../../../lib/base/abort.ts";
import { NydusGdError } from "../../../lib/base/errors.ts";
import { endProcess } from "../process/end_process.ts";
import { PATIENCE_MS } from "../until.ts";
import { isInstalled } from "./kernel.ts";

/** Paths of virtiofsd in Debian 12 (part of qemu-system-common) and in Debian 13's own package. */
const PROGRAMS = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

const POLL_MS = 10;

/** Options of a shared folder. */
export interface SharedFolderOptions {
  /** Mount source in the machine: `mount -t virtiofs TAG /mnt`. */
  readonly tag: string;
  readonly folder: string;
  /** Whether both sides write; disables caching. Otherwise files must not change while the machine runs. */
  readonly writable: boolean;
  /** Folder for socket and log. */
  readonly dir: string;
}

/** Why folders cannot be shared; undefined if they can. */
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
    /** Socket for qemu to connect to. */
    readonly socket: string,
  ) {}

  /** Starts virtiofsd and waits for its socket. */
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

async function appears(path: string, child: Deno.ChildProcess): Promise<boolean> {
  let ended = false;
  child.status.then(() => ended = true);
  for (let waitedMs = 0; waitedMs < PATIENCE_MS && !ended; waitedMs += POLL_MS) {
    try {
      await Deno.stat(path);
      return true;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await delay(POLL_MS);
  }
  return false;
}
