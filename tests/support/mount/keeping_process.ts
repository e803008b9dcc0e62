/**
 * A process that starts a keeper of its own standard output, to be killed at a chosen moment.
 *
 * A reader of its output sees end of file once both processes are gone.
 *
 * @module
 */
import { Fd } from "../../../ffi/fd.ts";
import { atMost } from "../../../lib/base/abort.ts";
import { Keeper } from "../../../lib/mount/keeper/keeper.ts";
import { PATIENCE_MS, until } from "../until.ts";

/** Name of the kept descriptor. */
export const KEPT = "output";
const STARTED = "started\n";

/** The process. */
export class KeepingProcess {
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<Uint8Array>;

  /**
   * @param recordPath path of the keeper's record; while it is at `<recordPath>.tmp`, the keeper is not recorded yet
   */
  constructor(recordPath: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", "--no-check", import.meta.url, recordPath],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    this.#output = this.#child.stdout.getReader();
  }

  /** Waits until the keeper is recorded. */
  async started(): Promise<void> {
    const { value } = await this.#output.read();
    if (new TextDecoder().decode(value) !== STARTED) throw new Error("Cannot start keeper: see above");
  }

  /** Returns the pid of the keeper as soon as it exists. */
  async keeperPid(): Promise<number> {
    const children = `/proc/${this.#child.pid}/task/${this.#child.pid}/children`;
    let pid = 0;
    await until("the process has a keeper", () => {
      pid = Number(Deno.readTextFileSync(children).split(" ")[0]);
      return pid > 0;
    });
    return pid;
  }

  /** Kills this process but not its keeper. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }

  /** Waits until this process and all of its keepers are gone. @throws {Error} if one remains */
  async ended(): Promise<void> {
    const end = (async () => {
      while (!(await this.#output.read()).done);
      return true;
    })();
    if (await atMost(PATIENCE_MS, end) === undefined) throw new Error("a keeper is left behind");
    await this.#child.status; // its output ends a moment earlier
  }
}

if (import.meta.main) {
  const [recordPath] = Deno.args;
  using output = Fd.own(1).duplicate();
  await Keeper.start(String(recordPath), new Map([[KEPT, output]]));
  Deno.stdout.writeSync(new TextEncoder().encode(STARTED));
  await new Promise((resolve) => setTimeout(resolve, 1e9));
}
