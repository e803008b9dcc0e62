/**
 * The graph driver as a process of its own, and dockerd's side of its socket.
 *
 * @module
 */

const MAIN = new URL("../conformance/graph_driver.ts", import.meta.url).pathname;

/** An answer that says no. */
export class RemoteError extends Error {}

/** Starts, kills and restarts the driver; speaks its protocol. */
export class GraphDriverProcess implements AsyncDisposable {
  readonly socket: string;
  readonly #root: string;
  #child: Deno.ChildProcess | undefined;
  #client: Deno.HttpClient;

  private constructor(scratch: string) {
    this.socket = `${scratch}/gd.sock`;
    this.#root = `${scratch}/root`;
    this.#client = this.#connect();
  }

  /** @param scratch a folder for socket and state */
  static async start(scratch: string): Promise<GraphDriverProcess> {
    const driver = new GraphDriverProcess(scratch);
    await driver.restart();
    return driver;
  }

  /** Starts the process, after {@link kill} or {@link stop}; resolves when the socket accepts. */
  async restart(): Promise<void> {
    const args = ["run", "-A", "-q", "--no-lock", MAIN, "--socket", this.socket, "--root", this.#root];
    const child = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "piped", stderr: "inherit" })
      .spawn();
    this.#child = child;
    const reader = child.stdout.getReader();
    const { done } = await reader.read();
    await reader.cancel();
    if (done) throw new Error(`the driver ended with ${(await child.status).code} before it listened`);
    this.#client.close();
    this.#client = this.#connect();
  }

  /** SIGKILL, at whatever instruction it is. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** SIGTERM; the exit code. */
  async stop(): Promise<number> {
    return await this.#end("SIGTERM");
  }

  /** One call; the answer. @throws {RemoteError} for an Err */
  async call(method: string, request: unknown = {}): Promise<Record<string, unknown>> {
    return await this.#post(`/${method}`, JSON.stringify(request) + "\n");
  }

  /** ApplyDiff; the size. */
  async apply(id: string, tar: Uint8Array<ArrayBuffer>): Promise<number> {
    const answer = await this.#post(`/GraphDriver.ApplyDiff?id=${id}&parent=`, new Blob([tar]).stream());
    return answer["Size"] as number;
  }

  async #post(path: string, body: BodyInit): Promise<Record<string, unknown>> {
    const response = await fetch(`http://plugin.moby.localhost${path}`, { method: "POST", body, client: this.#client });
    const answer = await response.json();
    if (answer.Err !== undefined) throw new RemoteError(answer.Err);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
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
