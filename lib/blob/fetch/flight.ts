/**
 * A unit of chunks on its way into the cache file, and who waits for it.
 *
 * @module
 */
import type { Urgency } from "./fetch_queue.ts";

/** Where a flight is. A settled one has left the table: the next call for its chunks makes a new one. */
export type FlightState = "checking" | "queued" | "running" | "settled";

/** One unit (chunk_index.ts) that is being checked or fetched. Concurrent misses of its chunks share it. */
export class Flight {
  state: FlightState = "queued";
  /** Callers that still wait. */
  waiters = 0;
  /** Fetches that gave wrong bytes. */
  wrongAnswers = 0;
  /** It failed together with others; from now on it is fetched by itself. */
  alone = false;
  /** It may go with an on-demand request although nobody waits for it: read_ahead.ts. */
  isNeighbour = false;
  /** The read that its bytes come with. */
  request: RunningRequest | undefined;
  /** Why chunks did not become ready. */
  readonly failures = new Map<number, unknown>();
  readonly #settled = Promise.withResolvers<void>();

  /**
   * @param unit its key
   * @param rows chunks of the unit that are not ready yet and whose digest is known
   */
  constructor(readonly unit: number, public rows: readonly number[], public urgency: Urgency) {}

  /** Resolves, and never rejects, when every chunk is ready or has its entry in {@link failures}. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Ends the flight; chunks that are not ready failed with `error`. */
  settle(error?: unknown): void {
    if (this.state === "settled") return;
    this.state = "settled";
    if (error !== undefined) {
      for (const row of this.rows) {
        if (!this.failures.has(row)) this.failures.set(row, error);
      }
    }
    this.#settled.resolve();
  }
}

/** A read from the source that is under way. */
export interface RunningRequest {
  /** Those whose bytes are on their way: what is decoded has left. */
  readonly flights: readonly Flight[];
  /** Aborted when nobody waits for any of the flights. */
  readonly controller: AbortController;
  /** False once the bytes are here: from then on it is finished in any case. */
  readonly reading: boolean;
}
