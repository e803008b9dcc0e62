/**
 * HTTP servers that restart after a failure.
 *
 * Deno.serve ends for good when it cannot accept a connection, for example when the process is out of file descriptors.
 * A daemon must survive that, so it listens again as soon as possible. Clients fail to connect in the meantime and
 * retry.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../lib/base/errors.ts";
import { logger } from "../../lib/base/log.ts";

const log = logger("serve");

/** Delay between attempts to listen. */
const PAUSE_MS = 250;

/** A listening server. */
export interface Listening {
  readonly server: Pick<Deno.HttpServer, "finished">;
  /** Stops the server and aborts running calls. */
  readonly abort: AbortController;
}

/** A server that is restarted until it is released. */
export class KeptServer<T extends Listening> {
  readonly #stop = new AbortController();
  readonly #listen: () => Promise<T>;
  #listening: T | undefined;
  /** Resolves once the server is released and nothing is served any more. */
  readonly finished: Promise<void>;

  /**
   * @param first the server that is listening already
   * @param listen starts its replacement
   * @param what its name in the log
   */
  constructor(first: T, listen: () => Promise<T>, private readonly what: string) {
    this.#listening = first;
    this.#listen = listen;
    this.finished = this.#keep(first);
  }

  /** Stops restarting. Returns the current server, which the caller has to stop; undefined if none is listening. */
  release(): T | undefined {
    this.#stop.abort();
    return this.#listening;
  }

  async #keep(first: T): Promise<void> {
    for (let listening: T | undefined = first; listening !== undefined; listening = await this.#relisten()) {
      this.#listening = listening;
      try {
        await listening.server.finished;
      } catch (error) {
        if (!this.#stop.signal.aborted) log.error("endpoint ended, listening again", { what: this.what, error });
      }
      this.#listening = undefined;
      if (this.#stop.signal.aborted) return;
    }
  }

  /** Listens again, with retries; undefined once released. */
  async #relisten(): Promise<T | undefined> {
    const { signal } = this.#stop;
    for (let reason: string | undefined; !signal.aborted;) {
      try {
        const listening = await this.#listen();
        if (signal.aborted) {
          listening.abort.abort();
          return undefined;
        }
        log.info("listening again", { what: this.what });
        return listening;
      } catch (error) {
        if (messageOf(error) !== reason) log.warn("cannot listen", { what: this.what, error });
        reason = messageOf(error);
      }
      await delay(PAUSE_MS, undefined, { signal }).catch(() => {}); // a release ends the loop
    }
    return undefined;
  }
}
