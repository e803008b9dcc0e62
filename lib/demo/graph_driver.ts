/**
 * `nydus-gd serve` as a process of a {@link Sandbox}: the very program that runs, started again.
 *
 * @module
 */
import { ignore, NydusGdError } from "../base/errors.ts";
import { selfCommand } from "../base/self_command.ts";
import { kill, programPid, type Sandbox } from "./sandbox.ts";

/** Name of the storage driver: the file name of the socket. */
export const DRIVER_NAME = "nydus-gd";

/** Where dockerd looks for plugins; in a sandbox /run is its own. */
const SOCKET = `/run/docker/plugins/${DRIVER_NAME}.sock`;
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 50;

/** What {@link GraphDriverProcess.start} needs. */
export interface GraphDriverProcessOptions {
  readonly sandbox: Sandbox;
  /** State, cache, and the log of this process. */
  readonly dir: string;
  /** nydusd's configuration file, if there is one. */
  readonly config?: string;
  /** Environment beside that of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The executable; this very program unless given. */
  readonly program?: string;
}

/** A running `serve`. */
export class GraphDriverProcess implements AsyncDisposable {
  private constructor(private readonly child: Deno.ChildProcess, readonly logPath: string) {}

  /** Starts it and waits until its socket is there. */
  static async start(options: GraphDriverProcessOptions): Promise<GraphDriverProcess> {
    const { sandbox, dir, config, env } = options;
    const logPath = `${dir}/serve.log`;
    const [program, ...first]: [string, ...string[]] = options.program === undefined
      ? selfCommand()
      : [options.program];
    const args = ["--root", `${dir}/root`, "--socket", SOCKET, ...(config === undefined ? [] : ["--config", config])];
    const child = sandbox.spawn(program, [...first, "--log-level", "debug", "--log-format", "json", "serve", ...args], {
      logPath,
      ...(env === undefined ? {} : { env: { ...env } }),
    });
    let ended = false;
    child.status.then(() => ended = true);
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    const process = new GraphDriverProcess(child, logPath);
    while (!(await accepts(`/proc/${sandbox.initPid}/root${SOCKET}`))) {
      if (ended || deadline.aborted) {
        await process[Symbol.asyncDispose]();
        // At log level debug the stack follows the message.
        const lines = (await Deno.readTextFile(logPath)).trim().split("\n");
        const said = lines.findLast((line) => line.startsWith("nydus-gd:")) ?? lines.at(-1);
        throw new NydusGdError("environment", `Cannot start nydus-gd serve: ${said || "it wrote nothing"}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return process;
  }

  /** Its process id on the host. */
  get pid(): number {
    return programPid(this.child);
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    kill(this.child, "SIGKILL");
    await this.child.status;
  }

  /** Stops it in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.child, "SIGTERM");
    await this.child.status;
  }
}

/** Whether somebody listens: a socket alone may be what a killed process left. */
async function accepts(path: string): Promise<boolean> {
  const connection = await ignore(
    [Deno.errors.NotFound, Deno.errors.ConnectionRefused],
    Deno.connect({ transport: "unix", path }),
  );
  connection?.close();
  return connection !== undefined;
}
