/**
 * The port by which a virtual machine is told what to run: the other end of guest.sh.
 *
 * Whatever waits on it ends when the machine does.
 *
 * @module
 */

/** `7\n` goes in, `7 0\n` comes back when script 7 has ended with 0. */
export class GuestPort implements AsyncDisposable {
  readonly #waiting = new Map<string, (code: number | undefined) => void>();
  readonly #reading: Promise<void>;
  readonly #ready = Promise.withResolvers<boolean>();
  #closed = false;

  private constructor(private readonly connection: Deno.Conn) {
    this.#reading = this.#read();
  }

  /** Waits for the machine to connect; undefined when it ended before. */
  static async accept(listener: Deno.Listener, ended: Promise<unknown>): Promise<GuestPort | undefined> {
    const connection = await Promise.race([listener.accept(), ended.then(() => undefined)]);
    listener.close();
    return connection === undefined ? undefined : new GuestPort(connection);
  }

  /** Whether the machine is up; false when it ended before it was. */
  get ready(): Promise<boolean> {
    return this.#ready.promise;
  }

  /** Has script `id` run; what it ended with, undefined when the machine ended before. */
  async run(id: string): Promise<number | undefined> {
    if (this.#closed) return undefined;
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    this.#waiting.set(id, resolve);
    try {
      await this.connection.write(new TextEncoder().encode(`${id}\n`));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // the machine ends: reading notices it, too
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
      // it was killed, or we have closed it
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
