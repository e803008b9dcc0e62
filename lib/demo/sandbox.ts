/**
 * A sandbox that leaves nothing behind: a mount and a process namespace of its own for a private dockerd and what it
 * needs.
 *
 * Every process of the sandbox is a descendant of its process 1. When that one is killed, for whatever reason, the
 * kernel kills the rest and drops every mount that was made inside. `/run` inside is an empty tmpfs, so a dockerd of
 * the host and its plugins are neither seen nor disturbed. What dockerd and its containerd write outside of the folders
 * that they are given, a key in `/etc/docker` and empty folders in `/opt`, goes with the sandbox as well. Everything else
 * of the file system is shared.
 *
 * Needs root and util-linux (unshare, nsenter), which every Debian has.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/**
 * What process 1 of the sandbox does: hide /run and /etc/docker, take what is written to /opt, say so, then reap orphans
 * until its standard input ends, which it does with this process. Where overlays are stacked too deep already, /opt is
 * shared.
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

/** How long the namespaces may take to come up. */
const START_TIMEOUT_MS = 10_000;

/** Environment and output of a process started by {@link Sandbox.spawn}. */
export interface SpawnOptions {
  readonly env?: Record<string, string>;
  /** Standard output and error are appended to this file. */
  readonly logPath?: string;
  /** "piped" to write standard input; otherwise it is empty. */
  readonly stdin?: "piped";
  /** "piped" to read standard output; otherwise it is discarded. */
  readonly stdout?: "piped" | "null";
  /** "piped" to read standard error; otherwise it is this process's, or goes to the log. */
  readonly stderr?: "piped";
}

/** The namespaces, alive from {@link Sandbox.start} until disposed. */
export class Sandbox implements AsyncDisposable {
  readonly #unshare: Deno.ChildProcess;
  /** Process 1 of the sandbox, as the host numbers it. */
  readonly initPid: number;

  private constructor(unshare: Deno.ChildProcess, initPid: number) {
    this.#unshare = unshare;
    this.initPid = initPid;
  }

  /**
   * Makes the namespaces.
   *
   * @throws {NydusGdError} "environment" where namespaces may not be made
   */
  static async start(): Promise<Sandbox> {
    const unshare = new Deno.Command("unshare", {
      args: ["--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "sh", "-c", INIT],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      // A Ctrl-C on the terminal goes to us; we take the sandbox down in order.
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
      throw new NydusGdError("environment", "Cannot make sandbox: mount and process namespaces are not permitted", {
        hint: "run as root",
      });
    }
    const children = await Deno.readTextFile(`/proc/${unshare.pid}/task/${unshare.pid}/children`);
    return new Sandbox(unshare, Number(children.trim().split(" ")[0]));
  }

  /** Starts a program inside. The child is nsenter's: it ends with the program; signals go through {@link kill}. */
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

  /** The mount table inside, as /proc/self/mountinfo shows it there. */
  mountinfo(): Promise<string> {
    return Deno.readTextFile(`/proc/${this.initPid}/mountinfo`);
  }

  /** Kills everything inside; the kernel drops its mounts. */
  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.#unshare, "SIGKILL");
    await this.#unshare.stdin.abort();
    await this.#unshare.status;
    // Death is asynchronous: the namespace is gone when its process 1 is.
    for (let waited = 0; waited < START_TIMEOUT_MS; waited += 10) {
      try {
        await Deno.stat(`/proc/${this.initPid}`);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new NydusGdError("internal", `Cannot end sandbox: process ${this.initPid} is still alive`);
  }
}

/** Sends a signal to the program that `child` runs; nothing when it has ended. */
export function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    Deno.kill(programPid(child), signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/**
 * The process id, on the host, of the program that `child` runs. nsenter and unshare fork: the program is their child,
 * and they end with it.
 */
export function programPid({ pid }: Deno.ChildProcess): number {
  return onlyChild(pid) ?? pid;
}

function onlyChild(pid: number): number | undefined {
  try {
    const first = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ")[0];
    return first === undefined || first === "" ? undefined : Number(first);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
