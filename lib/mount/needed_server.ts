/**
 * A server that starts when the first image needs it: a FUSE session, a fanotify group, the kernel's cache.
 *
 * @module
 */
import { SingleFlight } from "../base/single_flight.ts";

/** A server that may be running. */
export class NeededServer<T> {
  readonly #starting = new SingleFlight<"server", void>();
  #running: T | undefined;

  /** @param onRunning called with each server that runs from now on */
  constructor(private readonly start: () => Promise<T>, private readonly onRunning: (server: T) => void = () => {}) {}

  /** The server, if it is running. */
  get running(): T | undefined {
    return this.#running;
  }

  /** Returns the server, starting it if necessary. @throws {NydusGdError} if it cannot be started */
  async need(): Promise<T> {
    if (this.#running !== undefined) return this.#running;
    await this.#starting.run("server", async () => this.adopt(await this.start()));
    return await this.need();
  }

  /** Uses a server that is running already. */
  adopt(server: T): void {
    this.#running = server;
    this.onRunning(server);
  }

  /** The server has ended: another one is started when it is needed. */
  forget(): void {
    this.#running = undefined;
  }
}
