/**
 * A unit of chunks on its way into the cache file, and the callers that wait for it.
 *
 * @module
 */
import type { Urgency } from "./fetch_queue.ts";

/** State of a flight. A settled flight is no longer in the table: the next call for its chunks creates a new one. */
export type FlightState = "checking" | "queued" | "running" | "settled";

/** One unit (../tables/chunk_index.ts) that is being verified or fetched. Concurrent misses of its chunks share it. */
export class Flight {
  state: FlightState = "queued";
  /** Number of callers still waiting. */
  waiters = 0;
  /** Number of fetches that returned wrong bytes. */
  corruptResponses = 0;
  /** It failed in a shared request and must be fetched alone from now on. */
  alone = false;
  /** It may be included in an on-demand request although nobody waits for it: read_ahead.ts. */
  isNeighbour = false;
  /** The request that fetches it. */
  request: RunningRequest | undefined;
  /** Why chunks did not become ready. */
  readonly failures = new Map<number, unknown>();
  readonly #settled = Promise.withResolvers<void>();

  /**
   * @param unit key of the unit
   * @param rows chunks of the unit that are not ready yet and whose digest is known
   */
  constructor(readonly unit: number, public rows: readonly number[], public urgency: Urgency) {}

  /** Resolves, and never rejects, when every chunk is ready or has an entry in {@link failures}. */
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

/** A read of the source in flight. */
export interface RunningRequest {
  /** Flights whose bytes are still in flight; decoded ones are removed. */
  readonly flights: readonly Flight[];
  /** Aborted when nobody waits for any of the flights. */
  readonly controller: AbortController;
  /** False once all bytes have arrived: from then on it completes in any case. */
  readonly reading: boolean;
}
