/**
 * A private dockerd in a {@link Sandbox}, controlled with ordinary `docker` commands.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";
import { getOverUnix, unixErrorCode } from "../base/unix_http.ts";
import { PROGRAM_PATH } from "./programs.ts";
import { kill, type Sandbox } from "./sandbox.ts";
import { lastLine, whenUsable } from "./starting.ts";

/** Timeout for dockerd to stop. */
const STOP_TIMEOUT_MS = 30_000;
/** Timeout for containers to end when dockerd stops. */
const CONTAINER_STOP_TIMEOUT_S = 1;

/** Options of {@link DockerDaemon.start}. */
export interface DockerDaemonOptions {
  /** Where dockerd and docker run; `dir` must be visible there at the same path. */
  readonly sandbox: Pick<Sandbox, "spawn">;
  /**
   * Directory for data-root, exec-root, socket, log and client configuration. Must be short: sockets are created below
   * it.
   */
  readonly dir: string;
  /** `overlay2`, or the name of a graph-driver plugin or a snapshotter. */
  readonly storageDriver: string;
  /** Further content of its configuration file. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Additional `--storage-opt` values. */
  readonly storageOptions?: readonly string[];
  /** Additional arguments of dockerd. */
  readonly flags?: readonly string[];
}

/** Input of a docker command. */
export interface CommandOptions {
  readonly input?: Uint8Array;
  /** Environment in addition to the client's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** When it is aborted, the client is killed; the daemon then cancels a pull. */
  readonly signal?: AbortSignal;
}

/** Output and exit code of a docker command. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running dockerd. */
export class DockerDaemon implements AsyncDisposable {
  private constructor(private readonly options: DockerDaemonOptions, private readonly child: Deno.ChildProcess) {}

  /** Data-root of a daemon in `dir`. */
  static dataRoot(dir: string): string {
    return `${dir}/data`;
  }

  /** Starts dockerd and waits until it answers. */
  static async start(options: DockerDaemonOptions, signal?: AbortSignal): Promise<DockerDaemon> {
    const { dir, sandbox } = options;
    await Deno.mkdir(`${dir}/client`, { recursive: true });
    const config = { "storage-driver": options.storageDriver, ...options.config };
    await Deno.writeTextFile(`${dir}/daemon.json`, JSON.stringify(config));
    const child = sandbox.spawn("dockerd", [
      "--experimental",
      ...(options.storageOptions ?? []).flatMap((option) => ["--storage-opt", option]),
      "--data-root",
      DockerDaemon.dataRoot(dir),
      "--exec-root",
      `${dir}/exec`,
      "--pidfile",
      `${dir}/docker.pid`,
      "--host",
      `unix://${dir}/docker.sock`,
      "--config-file",
      `${dir}/daemon.json`,
      "--shutdown-timeout",
      String(CONTAINER_STOP_TIMEOUT_S),
      "--bridge=none",
      "--iptables=false",
      "--ip6tables=false",
      ...(options.flags ?? []),
    ], { logPath: `${dir}/dockerd.log`, env: { PATH: PROGRAM_PATH } });
    const daemon = new DockerDaemon(options, child);
    const isUsable = await whenUsable(child, (over) => answers(`${dir}/docker.sock`, over), signal);
    if (!isUsable) {
      await daemon[Symbol.asyncDispose]();
      signal?.throwIfAborted();
      throw new NydusGdError("environment", `Cannot start dockerd: ${await lastLine(`${dir}/dockerd.log`)}`);
    }
    return daemon;
  }

  /** DOCKER_HOST of this daemon. */
  get host(): string {
    return `unix://${this.options.dir}/docker.sock`;
  }

  /** Starts `docker ARGS` with piped output; use {@link kill} to send it signals. */
  spawn(args: readonly string[], { input, env }: CommandOptions = {}): Deno.ChildProcess {
    return this.options.sandbox.spawn("docker", ["--host", this.host, ...args], {
      env: { PATH: PROGRAM_PATH, DOCKER_CONFIG: `${this.options.dir}/client`, DOCKER_BUILDKIT: "0", ...env },
      ...(input === undefined ? {} : { stdin: "piped" }),
      stdout: "piped",
      stderr: "piped",
    });
  }

  /**
   * Runs `docker ARGS` and returns its result, whatever the exit code.
   *
   * @throws {NydusGdError} "interrupted" when `options.signal` is aborted
   */
  async docker(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    throwIfAborted(options.signal);
    const child = this.spawn(args, options);
    const onAbort = () => kill(child, "SIGKILL");
    options.signal?.addEventListener("abort", onAbort);
    if (options.input !== undefined) {
      const writer = child.stdin.getWriter();
      await writer.write(options.input);
      await writer.close();
    }
    const { code, stdout, stderr } = await child.output();
    options.signal?.removeEventListener("abort", onAbort);
    throwIfAborted(options.signal);
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /**
   * Runs `docker ARGS`, which must succeed, and returns its trimmed output.
   *
   * @throws {NydusGdError} "unavailable" with the last line of docker's error output
   */
  async must(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.docker(args, options);
    if (result.code === 0) return result.stdout.trim();
    const said = result.stderr.trim().split("\n").findLast((line) => line !== "" && !line.includes("--help")) ?? "";
    throw new NydusGdError("unavailable", `Cannot run docker ${args.join(" ")}: ${said}`);
  }

  /** Kills dockerd immediately, like a crash. */
  async kill(): Promise<void> {
    kill(this.child, "SIGKILL");
    await this.child.status;
  }

  /** Stops dockerd and its containers with SIGTERM, and with SIGKILL after {@link STOP_TIMEOUT_MS}. */
  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.child, "SIGTERM");
    const timer = setTimeout(() => kill(this.child, "SIGKILL"), STOP_TIMEOUT_MS);
    await this.child.status;
    clearTimeout(timer);
  }
}

/** Undefined until dockerd answers. Uses no docker client: one per look would slow down dockerd on a slow machine. */
async function answers(socket: string, signal: AbortSignal): Promise<true | undefined> {
  try {
    return (await getOverUnix(socket, "/_ping", signal)).status === 200 || undefined;
  } catch (error) {
    if (!signal.aborted && unixErrorCode(error) === undefined) throw error;
    return undefined;
  }
}
