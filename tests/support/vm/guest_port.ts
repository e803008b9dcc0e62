/**
 * The port through which a virtual machine receives scripts to run. Its other end is guest.sh.
 *
 * All waits end when the machine does.
 *
 * @module
 */

/** Protocol: `7\n` is sent to run script 7; `7 0\n` is received when it has ended with status 0. */
export class GuestPort implements AsyncDisposable {
  readonly #waiting = new Map<string, (code: number | undefined) => void>();
  readonly #reading: Promise<void>;
  readonly #ready = Promise.withResolvers<boolean>();
  #closed = false;

  private constructor(private readonly connection: Deno.Conn) {
    this.#reading = this.#read();
  }

  /** Waits for the machine to connect; undefined if it ended first. */
  static async accept(listener: Deno.Listener, ended: Promise<unknown>): Promise<GuestPort | undefined> {
    const connection = await Promise.race([listener.accept(), ended.then(() => undefined)]);
    listener.close();
    return connection === undefined ? undefined : new GuestPort(connection);
  }

  /** Whether the machine came up; false if it ended first. */
  get ready(): Promise<boolean> {
    return this.#ready.promise;
  }

  /** Runs script `id`. Returns its status; undefined if the machine ended first. */
  async run(id: string): Promise<number | undefined> {
    if (this.#closed) return undefined;
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    this.#waiting.set(id, resolve);
    try {
      await this.connection.write(new TextEncoder().encode(`${id}\n`));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // the machine is ending: the read will notice
    }
    return await promise;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(4096);
    let text = "";
    for (let count = await this.#receive(buffer); count !== null; count = await this.#receive(buffer)) {
      const lines = (text + decoder.decode(buffer.subarray(0, count))).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    }
    this.#closed = true;
    this.#ready.resolve(false);
    for (const resolve of this.#waiting.values()) resolve(undefined);
  }

  async #receive(buffer: Uint8Array): Promise<number | null> {
    try {
      return await this.connection.read(buffer);
    } catch (error) {
      // it was killed, or the connection was closed on this side
      if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BadResource) return null;
      if (error instanceof Deno.errors.Interrupted) return null;
      throw error;
    }
  }

  #take(line: string): void {
    if (line === "ready") return this.#ready.resolve(true);
    const [id = "", code] = line.split(" ");
    this.#waiting.get(id)?.(Number(code));
    this.#waiting.delete(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.close();
    await this.#reading;
  }
}
