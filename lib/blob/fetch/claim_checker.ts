/**
 * Verifies chunks that are recorded as cached before they are fetched; batches the flights of one turn of the event
 * loop.
 *
 * @module
 */
import type { DecodeTarget } from "../decode/chunk_decoder.ts";
import type { Decoder } from "../decode/decoder.ts";
import { toPriority, type Urgency } from "./fetch_queue.ts";
import type { Flight } from "./flight.ts";
import type { Readiness } from "../cache/readiness.ts";

/** Plain bytes of cached chunks verified in one job. */
const CHECK_BYTES = 4 * 1024 * 1024;

/** Dependencies of a checker. */
export interface ClaimCheckerParts {
  readonly target: DecodeTarget;
  readonly readiness: Readiness;
  readonly decoder: Decoder;
  /** Called for each verified flight, whose rows are then those that are not ready. An error is that of the disk. */
  readonly onChecked: (flight: Flight, error?: unknown) => void;
  /** Tracks the work until it has ended. */
  readonly track: (work: Promise<void>) => void;
}

/** Verifies recorded chunks of one blob. */
export class ClaimChecker {
  #waiting: Flight[] = [];
  #soon = false;
  #closed = false;

  constructor(private readonly parts: ClaimCheckerParts) {}

  /** Verifies the flight together with the others of this turn. */
  add(flight: Flight): void {
    flight.state = "checking";
    this.#waiting.push(flight);
    if (this.#soon) return;
    this.#soon = true;
    queueMicrotask(() => {
      this.#soon = false;
      const flights = this.#waiting;
      this.#waiting = [];
      if (this.#closed) return;
      for (const urgency of ["on-demand", "read-ahead", "prefetch"] as const) {
        for (const part of this.#partsOf(flights.filter((flight) => flight.urgency === urgency))) {
          this.parts.track(this.#check(part, urgency));
        }
      }
    });
  }

  /** Stops starting checks; the caller settles the flights still waiting. */
  close(): void {
    this.#closed = true;
  }

  *#partsOf(flights: readonly Flight[]): Generator<Flight[]> {
    const { uncompressedSize } = this.parts.target.columns;
    let part: Flight[] = [];
    let bytes = 0;
    for (const flight of flights) {
      part.push(flight);
      for (const row of flight.rows) bytes += uncompressedSize[row] as number;
      if (bytes < CHECK_BYTES) continue;
      yield part;
      part = [];
      bytes = 0;
    }
    if (part.length > 0) yield part;
  }

  async #check(flights: readonly Flight[], urgency: Urgency): Promise<void> {
    const { target, readiness, decoder, onChecked } = this.parts;
    const claimed = flights.flatMap((flight) => flight.rows.filter((row) => readiness.isClaimed(row)));
    const { epoch } = readiness;
    try {
      const wrong = await decoder.check(target, claimed, toPriority(urgency));
      readiness.add(claimed.filter((row) => readiness.isReady(row)), epoch);
      for (const { row } of wrong) readiness.disclaim(row);
    } catch (error) {
      for (const flight of flights) onChecked(flight, error);
      return;
    }
    for (const flight of flights) {
      flight.rows = flight.rows.filter((row) => !readiness.isReady(row));
      onChecked(flight);
    }
  }
}
