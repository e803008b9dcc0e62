/**
 * Debian's `docker-registry` on a free loopback port, for a demonstration or a test.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { lastLine, whenUsable } from "./starting.ts";

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
    const host = await whenUsable(child, () => addressIn(`${dir}/log`));
    if (host !== undefined) return new RegistryProcess(child, host);
    end(child, "SIGKILL");
    await child.status;
    throw new NydusGdError("environment", `Cannot start docker-registry: ${await lastLine(`${dir}/log`)}`);
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

/** The address at which the program listens; undefined until it is in the log. */
async function addressIn(logPath: string): Promise<string | undefined> {
  return LISTENING.exec(await Deno.readTextFile(logPath))?.[1];
}

function end(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended
  }
}
