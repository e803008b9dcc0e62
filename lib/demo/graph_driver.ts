/**
 * `nydus-gd serve` as a process in a {@link Sandbox}: a new process of the running program.
 *
 * @module
 */
import { ignore, NydusGdError } from "../base/errors.ts";
import { selfCommand } from "../base/self_command.ts";
import { kill, programPid, type Sandbox } from "./sandbox.ts";
import { lastLine, whenUsable } from "./starting.ts";

/** Name of the storage driver, which is the file name of its socket. */
export const DRIVER_NAME = "nydus-gd";

/** Where dockerd looks for plugins. A sandbox has its own /run. */
const SOCKET = `/run/docker/plugins/${DRIVER_NAME}.sock`;

/** Options of {@link SandboxedServe.start}. */
export interface SandboxedServeOptions {
  readonly sandbox: Sandbox;
  /** Directory for state, cache and the log of this process. */
  readonly dir: string;
  /** nydusd's configuration file, if any. */
  readonly config?: string;
  /** Socket for containerd, if it is served. */
  readonly snapshotterSocket?: string;
  /** Environment in addition to that of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The executable; by default the running program. */
  readonly program?: string;
}

/** A running `serve` process. */
export class SandboxedServe implements AsyncDisposable {
  private constructor(private readonly child: Deno.ChildProcess, readonly logPath: string) {}

  /** Starts the process and waits until its sockets accept connections. */
  static async start(options: SandboxedServeOptions): Promise<SandboxedServe> {
    const { sandbox, dir, config, snapshotterSocket, env } = options;
    const logPath = `${dir}/serve.log`;
    const [program, ...first]: [string, ...string[]] = options.program === undefined
      ? selfCommand()
      : [options.program];
    const args = [
      ...["--root", `${dir}/root`, "--socket", SOCKET],
      ...(config === undefined ? [] : ["--config", config]),
      ...(snapshotterSocket === undefined ? [] : ["--snapshotter-socket", snapshotterSocket]),
    ];
    const sockets = [SOCKET, snapshotterSocket].flatMap((path) =>
      path === undefined ? [] : [`/proc/${sandbox.initPid}/root${path}`]
    );
    const child = sandbox.spawn(program, [...first, "--log-level", "debug", "--log-format", "json", "serve", ...args], {
      logPath,
      ...(env === undefined ? {} : { env: { ...env } }),
    });
    const process = new SandboxedServe(child, logPath);
    if (await whenUsable(child, () => acceptAll(sockets))) return process;
    await process[Symbol.asyncDispose]();
    // at log level debug, a stack trace follows the message
    throw new NydusGdError("environment", `Cannot start nydus-gd serve: ${await lastLine(logPath, "nydus-gd:")}`);
  }

  /** Process id on the host. */
  get pid(): number {
    return programPid(this.child);
  }

  /** Kills it immediately, like a crash. */
  async kill(): Promise<void> {
    kill(this.child, "SIGKILL");
    await this.child.status;
  }

  /** Stops it gracefully. */
  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.child, "SIGTERM");
    await this.child.status;
  }
}

/** Undefined until all accept connections. */
async function acceptAll(paths: readonly string[]): Promise<true | undefined> {
  return (await Promise.all(paths.map(accepts))).every((isServed) => isServed) || undefined;
}

/** Whether a server listens. The existence of the socket is not enough: a killed process leaves it behind. */
async function accepts(path: string): Promise<boolean> {
  const connection = await ignore(
    [Deno.errors.NotFound, Deno.errors.ConnectionRefused],
    Deno.connect({ transport: "unix", path }),
  );
  connection?.close();
  return connection !== undefined;
}
