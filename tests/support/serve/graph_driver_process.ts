/**
 * Runs `nydus-gd serve` as a separate process, and speaks dockerd's side of the protocol.
 *
 * @module
 */

import { FanotifyImages } from "../../../lib/mount/fanotify/fanotify_images.ts";
import { FscacheImages } from "../../../lib/mount/fscache/fscache_images.ts";
import { FuseSession } from "../../../lib/mount/fuse/session.ts";
import { commandLine } from "../process/command.ts";
import { listening } from "../process/listening.ts";

/** Options of the {@link GraphDriverProcess}. */
export interface ServeProcessOptions {
  /** Words before the program, such as `prlimit --nofile=64`. */
  readonly within?: readonly string[];
  /** Environment; prefetch is disabled unless it enables it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default "error". */
  readonly logLevel?: string;
  /** File for standard error; default: that of the test. */
  readonly logPath?: string;
  /** Additional arguments of `serve`. */
  readonly args?: readonly string[];
}

/** Command line of a `serve` on `socket` with all its files below `root`. */
export function serveCommand(socket: string, root: string, logLevel = "error"): [string, ...string[]] {
  const sockets = ["--socket", socket, "--admin-socket", `${root}.admin.sock`];
  return commandLine(["--log-level", logLevel, "serve", "--root", root, ...sockets]);
}

/** For tests that count the fetches of `serve`: only data that are read are fetched. */
export const NO_PREFETCH = { NYDUS_GD_PREFETCH_ENABLED: "false" } as const;

/** An error reported in an answer. */
export class RemoteError extends Error {}

/** Starts, kills and restarts the driver; speaks its protocol. */
export class GraphDriverProcess implements AsyncDisposable {
  readonly socket: string;
  readonly #root: string;
  #child: Deno.ChildProcess | undefined;
  #client: Deno.HttpClient;

  private constructor(scratch: string, private readonly options: ServeProcessOptions) {
    this.socket = `${scratch}/gd.sock`;
    this.#root = `${scratch}/root`;
    this.#client = this.#connect();
  }

  /** @param scratch a directory for socket and state */
  static async start(scratch: string, options: ServeProcessOptions = {}): Promise<GraphDriverProcess> {
    const driver = new GraphDriverProcess(scratch, options);
    await driver.restart();
    return driver;
  }

  /**
   * Starts the process after {@link kill} or {@link stop}; resolves when the socket accepts connections.
   *
   * @param change overrides options for this start
   */
  async restart(change: ServeProcessOptions = {}): Promise<void> {
    const child = this.begin(change);
    if (!await listening(child, () => Deno.connect({ transport: "unix", path: this.socket }))) {
      throw new Error(`the driver ended with ${(await child.status).code} before it listened`);
    }
    this.#client.close();
    this.#client = this.#connect();
  }

  /** Like {@link restart}, without waiting. */
  begin(change: ServeProcessOptions = {}): Deno.ChildProcess {
    const { within = [], env, logLevel, logPath, args = [] } = { ...this.options, ...change };
    const redirect = logPath === undefined ? [] : ["sh", "-c", 'log=$1; shift; exec "$@" 2>>"$log"', "sh", logPath];
    const serve = [...serveCommand(this.socket, this.#root, logLevel), ...args];
    const [program = "", ...words] = [...redirect, ...within, ...serve];
    const child = new Deno.Command(program, {
      args: words,
      env: { ...NO_PREFETCH, ...env },
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    })
      .spawn();
    this.#child = child;
    return child;
  }

  /** Pid. @throws {Error} if it is not running */
  get pid(): number {
    if (this.#child === undefined) throw new Error("the driver does not run");
    return this.#child.pid;
  }

  /** Kills it with SIGKILL, at an arbitrary instruction. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Stops it with SIGTERM; returns the exit code. */
  async stop(): Promise<number> {
    return await this.#end("SIGTERM");
  }

  /** Makes a call; returns the answer. @throws {RemoteError} for an Err */
  async call(method: string, request: unknown = {}, signal?: AbortSignal): Promise<Record<string, unknown>> {
    return await this.#post(`/${method}`, JSON.stringify(request) + "\n", signal);
  }

  /** Calls ApplyDiff; returns the size. */
  async apply(id: string, tar: Uint8Array<ArrayBuffer>): Promise<number> {
    const answer = await this.#post(`/GraphDriver.ApplyDiff?id=${id}&parent=`, new Blob([tar]).stream());
    return answer["Size"] as number;
  }

  async #post(path: string, body: BodyInit, signal: AbortSignal | null = null): Promise<Record<string, unknown>> {
    const response = await fetch(`http://plugin${path}`, { method: "POST", body, signal, client: this.#client });
    const answer = await response.json();
    if (answer.Err !== undefined) throw new RemoteError(answer.Err);
    return answer;
  }

  /** Also removes what the process leaves to a successor: images of mounted layers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await FuseSession.abandon(`${this.#root}/state`);
    await FanotifyImages.abandon(`${this.#root}/state`);
    await FscacheImages.abandon(`${this.#root}/state`);
    this.#client.close();
  }

  async #end(signal: Deno.Signal): Promise<number> {
    const child = this.#child;
    if (child === undefined) return 0;
    this.#child = undefined;
    child.kill(signal);
    return (await child.status).code;
  }

  #connect(): Deno.HttpClient {
    return Deno.createHttpClient({ proxy: { transport: "unix", path: this.socket } });
  }
}
