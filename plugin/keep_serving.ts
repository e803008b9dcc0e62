/**
 * HTTP servers that listen again when something ends them.
 *
 * Deno.serve ends for good when a connection cannot be accepted, as while the process has no descriptors left. A daemon
 * must outlive that: it listens again as soon as it can. Callers find nobody meanwhile, and try again.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../lib/base/errors.ts";
import { logger } from "../lib/base/log.ts";

const log = logger("serve");

/** Between two attempts to listen. */
const PAUSE_MS = 250;

/** One server that listens. */
export interface Listening {
  readonly server: Pick<Deno.HttpServer, "finished">;
  /** Ends it, and the calls that run. */
  readonly abort: AbortController;
}

/** A server that is there until it is stopped. */
export class KeptServer<T extends Listening> {
  readonly #stop = new AbortController();
  readonly #listen: () => Promise<T>;
  #listening: T | undefined;
  /** Resolves when it was stopped and nothing is served any more. */
  readonly finished: Promise<void>;

  /**
   * @param first listens already
   * @param listen listens in its place
   * @param what it is, for the log
   */
  constructor(first: T, listen: () => Promise<T>, private readonly what: string) {
    this.#listening = first;
    this.#listen = listen;
    this.finished = this.#keep(first);
  }

  /** Does not listen again from here on. What listens now is the caller's to end; undefined: nothing does. */
  release(): T | undefined {
    this.#stop.abort();
    return this.#listening;
  }

  async #keep(first: T): Promise<void> {
    for (let listening: T | undefined = first; listening !== undefined; listening = await this.#again()) {
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

  /** The next one that listens; undefined after a stop. */
  async #again(): Promise<T | undefined> {
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
      await delay(PAUSE_MS, undefined, { signal }).catch(() => {}); // a stop ends the loop
    }
    return undefined;
  }
}
