/**
 * Debian's `docker-registry` on a free loopback port, for a demonstration or a test.
 *
 * @module
 */
import { delay } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";

const START_TIMEOUT_MS = 20_000;
const POLL_MS = 50;

/** A running registry that stores its blobs below `dir`. */
export class RegistryProcess implements AsyncDisposable {
  private constructor(private readonly child: Deno.ChildProcess, readonly host: string) {}

  /**
   * Starts the registry and waits until it answers.
   *
   * @param dir directory for its configuration, log and blobs
   * @throws {NydusGdError} "environment" when the program is missing or does not start
   */
  static async start(dir: string): Promise<RegistryProcess> {
    await Deno.mkdir(`${dir}/storage`, { recursive: true });
    const port = freePort();
    const host = `127.0.0.1:${port}`;
    const config = [
      "version: 0.1",
      "log: { level: warn, accesslog: { disabled: true } }",
      "storage:",
      `  filesystem: { rootdirectory: ${JSON.stringify(`${dir}/storage`)} }`,
      "  delete: { enabled: true }",
      `http: { addr: ${JSON.stringify(host)} }`,
      "",
    ].join("\n");
    await Deno.writeTextFile(`${dir}/config.yml`, config);
    const child = spawn(dir);
    const registry = new RegistryProcess(child, host);
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    let ended = false;
    child.status.then(() => ended = true);
    while (!(await answers(host))) {
      if (ended || deadline.aborted) {
        await registry[Symbol.asyncDispose]();
        const said = (await Deno.readTextFile(`${dir}/log`)).trim().split("\n").at(-1);
        throw new NydusGdError("environment", `Cannot start docker-registry: ${said ?? "it printed nothing"}`);
      }
      await delay(POLL_MS);
    }
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGTERM");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
    await this.child.status;
  }
}

function spawn(dir: string): Deno.ChildProcess {
  return new Deno.Command("sh", {
    args: ["-c", 'exec docker-registry serve "$1/config.yml" >"$1/log" 2>&1', "sh", dir],
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
}

async function answers(host: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${host}/v2/`);
    await response.body?.cancel();
    return response.ok;
  } catch (error) {
    if (error instanceof TypeError) return false; // connection refused
    throw error;
  }
}

/** Returns a currently unused port. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}
