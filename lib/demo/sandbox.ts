/**
 * A sandbox that leaves nothing behind: separate mount and process namespaces for a private dockerd and its
 * dependencies.
 *
 * Every process of the sandbox descends from its process 1. When that is killed, for whatever reason, the kernel kills
 * the others and drops every mount made inside. `/run` is an empty tmpfs inside, so a dockerd of the host and its
 * plugins are neither visible nor disturbed. Files that dockerd and its containerd write outside their configured
 * directories, a key in `/etc/docker` and empty directories in `/opt`, disappear with the sandbox as well. The rest of
 * the file system is shared.
 *
 * Needs root and util-linux (unshare, nsenter), which every Debian has.
 *
 * @module
 */
import { readProcessFile } from "../../ffi/procfs.ts";
import { delay } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";

/**
 * Script of the sandbox's process 1: hides /run and /etc/docker, captures writes to /opt, reports readiness, then reaps
 * orphans until its standard input closes, which happens when this process ends. /opt is shared if overlays cannot be
 * stacked any deeper.
 */
const INIT = `
set -e
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/docker/plugins /run/lock /run/opt/upper /run/opt/work
[ ! -d /etc/docker ] || mount -t tmpfs -o mode=0755 tmpfs /etc/docker
mount -t overlay -o lowerdir=/opt,upperdir=/run/opt/upper,workdir=/run/opt/work overlay /opt 2>/dev/null || true
echo ready
cat >/dev/null
`;

/** Timeouts for creating the namespaces, and for the end of everything in them; a busy machine takes seconds. */
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;

/** Environment and output of a process started by {@link Sandbox.spawn}. */
export interface SpawnOptions {
  readonly env?: Record<string, string>;
  /** File to which standard output and error are appended. */
  readonly logPath?: string;
  /** "piped" to write standard input; otherwise it is empty. */
  readonly stdin?: "piped";
  /** "piped" to read standard output; otherwise it is discarded. */
  readonly stdout?: "piped" | "null";
  /** "piped" to read standard error; otherwise it is inherited, or goes to the log. */
  readonly stderr?: "piped";
}

/** The namespaces, which exist from {@link Sandbox.start} until disposal. */
export class Sandbox implements AsyncDisposable {
  readonly #unshare: Deno.ChildProcess;
  /** Process id of the sandbox's process 1 on the host. */
  readonly initPid: number;

  private constructor(unshare: Deno.ChildProcess, initPid: number) {
    this.#unshare = unshare;
    this.initPid = initPid;
  }

  /**
   * Creates the namespaces.
   *
   * @throws {NydusGdError} "environment" when creating namespaces is not permitted
   */
  static async start(): Promise<Sandbox> {
    const unshare = new Deno.Command("unshare", {
      args: ["--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "sh", "-c", INIT],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      // Keeps Ctrl-C on the terminal from reaching the sandbox, which this process shuts down in order.
      detached: true,
    }).spawn();
    const reader = unshare.stdout.getReader();
    const timeout = AbortSignal.timeout(START_TIMEOUT_MS);
    const onTimeout = () => kill(unshare, "SIGKILL");
    timeout.addEventListener("abort", onTimeout);
    const first = await reader.read();
    timeout.removeEventListener("abort", onTimeout);
    await reader.cancel();
    if (first.done) {
      await unshare.status;
      if (timeout.aborted) {
        throw new NydusGdError(
          "environment",
          `Cannot make sandbox: it is not ready after ${START_TIMEOUT_MS / 1000} s`,
        );
      }
      throw new NydusGdError("environment", "Cannot make sandbox: mount and process namespaces are not permitted", {
        hint: "run as root",
      });
    }
    const children = await Deno.readTextFile(`/proc/${unshare.pid}/task/${unshare.pid}/children`);
    return new Sandbox(unshare, Number(children.trim().split(" ")[0]));
  }

  /** Starts a program inside. The child is nsenter, which ends with the program; send signals with {@link kill}. */
  spawn(program: string, args: string[], options: SpawnOptions = {}): Deno.ChildProcess {
    const enter = ["--target", String(this.initPid), "--mount", "--pid", "--"];
    const log = options.logPath;
    const command = log === undefined
      ? [program, ...args]
      : ["sh", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "sh", log, program, ...args];
    return new Deno.Command("nsenter", {
      args: [...enter, ...command],
      ...(options.env === undefined ? {} : { env: options.env }),
      stdin: options.stdin ?? "null",
      stdout: options.stdout ?? "null",
      stderr: options.stderr ?? (log === undefined ? "inherit" : "null"),
      detached: true,
    }).spawn();
  }

  /** Mount table inside, as /proc/self/mountinfo shows it there. */
  mountinfo(): Promise<string> {
    return Deno.readTextFile(`/proc/${this.initPid}/mountinfo`);
  }

  /** Kills everything inside; the kernel then drops its mounts. */
  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.#unshare, "SIGKILL");
    await this.#unshare.stdin.abort();
    await this.#unshare.status;
    // Killing is asynchronous: the namespace is gone when its process 1 is.
    for (let waited = 0; waited < STOP_TIMEOUT_MS; waited += 10) {
      try {
        await Deno.stat(`/proc/${this.initPid}`);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        throw error;
      }
      await delay(10);
    }
    throw new NydusGdError("internal", `Cannot stop sandbox: process ${this.initPid} is still alive`);
  }
}

/** Sends a signal to the program that `child` runs; does nothing if it has ended. */
export function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    Deno.kill(programPid(child), signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/**
 * Process id, on the host, of the program that `child` runs. nsenter and unshare fork: the program is their child, and
 * they end with it.
 */
export function programPid({ pid }: Deno.ChildProcess): number {
  return onlyChild(pid) ?? pid;
}

function onlyChild(pid: number): number | undefined {
  const first = readProcessFile(pid, `task/${pid}/children`)?.trim().split(" ")[0];
  return first === undefined || first === "" ? undefined : Number(first);
}
