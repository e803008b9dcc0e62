/**
 * Debian's `docker-registry` on a free loopback port, for a demonstration or a test.
 *
 * @module
 */
import { delay } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
/** What it logs once it accepts connections; the address has the port that it was given. */
const LISTENING = /msg="listening on ([\d.]+:\d+)/;

/** A running registry that stores its blobs below `dir`. */
export class RegistryProcess implements AsyncDisposable {
  private constructor(private readonly child: Deno.ChildProcess, readonly host: string) {}

  /**
   * Starts the registry and waits until it accepts connections, on a port that the kernel chooses: one that was only
   * looked for could be another program's by then.
   *
   * @param dir directory for its configuration, log and blobs
   * @param more further sections of its configuration, such as `auth`, or keys of those below
   * @throws {NydusGdError} "environment" when the program is missing or does not start
   */
  static async start(
    dir: string,
    more: Readonly<Record<string, Record<string, unknown>>> = {},
  ): Promise<RegistryProcess> {
    await Deno.mkdir(`${dir}/storage`, { recursive: true });
    const config = {
      ...more,
      version: "0.1",
      log: { level: "info", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: `${dir}/storage` }, delete: { enabled: true }, ...more["storage"] },
      http: { addr: "127.0.0.1:0", ...more["http"] },
    };
    // the program reads YAML, of which JSON is a subset
    await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify(config));
    await Deno.writeTextFile(`${dir}/log`, "");
    const child = spawn(dir);
    const host = await listening(dir, child);
    if (host !== undefined) return new RegistryProcess(child, host);
    end(child, "SIGKILL");
    await child.status;
    const said = (await Deno.readTextFile(`${dir}/log`)).trim().split("\n").at(-1);
    throw new NydusGdError("environment", `Cannot start docker-registry: ${said || "it printed nothing"}`);
  }

  /** Kills it, although clients are connected. */
  async kill(): Promise<void> {
    end(this.child, "SIGKILL");
    await this.child.status;
  }

  /** Stops it, once clients have disconnected. */
  async [Symbol.asyncDispose](): Promise<void> {
    end(this.child, "SIGTERM");
    await this.child.status;
  }
}

function spawn(dir: string): Deno.ChildProcess {
  return new Deno.Command("sh", {
    args: ["-c", 'exec docker-registry serve "$1/config.json" >"$1/log" 2>&1', "sh", dir],
    env: { OTEL_TRACES_EXPORTER: "none" },
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
}

/** Waits for the address at which the program listens; undefined if it ended or takes too long. */
async function listening(dir: string, child: Deno.ChildProcess): Promise<string | undefined> {
  const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
  let ended = false;
  child.status.then(() => ended = true);
  for (;;) {
    const host = LISTENING.exec(await Deno.readTextFile(`${dir}/log`))?.[1];
    if (host !== undefined || ended || deadline.aborted) return host;
    await delay(POLL_MS);
  }
}

function end(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended
  }
}
