/**
 * Fetches chunks of one blob, each once, however many callers request it concurrently.
 *
 * ```
 * ensure ──► flights ──► [verify chunks recorded as cached] ──► queue ──► one range request ──► decode, verify, write
 *   ▲                                                             │  adjacent chunks together, on-demand first
 *   └────────── each caller checks its own chunks ◄───────────────┘
 * ```
 * - A prefetch that has not started is overtaken, or promoted when a reader needs its chunks.
 * - A chunk that a reader waits for is ready when its bytes have arrived, whatever else the request contains
 *   (range_fetch.ts).
 * - A failure is reported to the callers waiting for these chunks and then forgotten.
 * - A caller can give up; the read is aborted only when nobody waits for any of it.
 * - What a reader is likely to need next is fetched along (read_ahead.ts). Nobody waits for it, so failures are
 *   ignored.
 *
 * Which chunks are on their way is in flights.ts, how they are requested in fetch_requests.ts.
 *
 * @module
 */
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import { setBit } from "../cache/bits.ts";
import type { ChunkIndex } from "../tables/chunk_index.ts";
import { ClaimChecker } from "./claim_checker.ts";
import type { Urgency } from "./fetch_queue.ts";
import { FetchRequests, type FetchRequestsParts } from "./fetch_requests.ts";
import { Flight } from "./flight.ts";
import { Flights } from "./flights.ts";
import { ReadAhead } from "./read_ahead.ts";

/** Dependencies of a fetcher. */
export interface ChunkFetcherParts extends FetchRequestsParts {
  /** One bit per chunk; reads of chunks whose bit is set are reported to {@link ChunkFetcher.reached}. */
  readonly watched: Uint8Array<SharedArrayBuffer>;
  /** Maximum bytes by which a read is extended; 0: no read-ahead. */
  readonly maxAheadBytes: () => number;
  /** Whether the surroundings of a read are fetched on a fast link: read_ahead.ts. */
  readonly hasSurroundings: () => boolean;
}

/** A chunk that was not cached when a reader came: its place in the uncompressed address space, in bytes. */
export interface DemandedChunk {
  readonly offset: number;
  readonly length: number;
  /** Whether a reader waits for it; otherwise it is fetched along. */
  readonly isAwaited: boolean;
}

/** Fetches chunks of one blob. */
export class ChunkFetcher {
  readonly #flights = new Flights((urgency) => this.#requests.awaitTurn(urgency));
  readonly #requests: FetchRequests;
  readonly #checker: ClaimChecker;
  readonly #readAhead: ReadAhead;
  readonly #running = new RunningTasks();
  #closed: NydusGdError | undefined;

  constructor(private readonly parts: ChunkFetcherParts, public index: ChunkIndex) {
    const { target, readiness, decoder, link, maxAheadBytes, hasSurroundings } = parts;
    this.#requests = new FetchRequests(parts, this.#flights, () => this.index, this.#running);
    this.#readAhead = new ReadAhead(link, maxAheadBytes, hasSurroundings);
    this.#checker = new ClaimChecker({
      target,
      readiness,
      decoder,
      onChecked: (flight, error) => this.#checked(flight, error),
      track: (work) => this.#running.add(work),
    });
  }

  /**
   * Implements `Blob.ensure` for an open blob.
   *
   * @param onDemand called for each missing chunk of an on-demand read
   */
  async ensure(
    offset: number,
    length: number,
    urgency: Urgency,
    signal?: AbortSignal,
    onDemand?: (chunk: DemandedChunk) => void,
  ): Promise<void> {
    if (!(length > 0)) return;
    const { readiness } = this.parts;
    if (this.#closed === undefined) await unlessAborted(readiness.mend(), signal);
    const missing = this.index.rowsIn(offset, length).filter((row) => !readiness.isReady(row));
    if (missing.length === 0) return;
    throwIfAborted(signal);
    if (this.#closed !== undefined) throw this.#closed;
    const flights = new Set<Flight>();
    for (const row of missing) if (readiness.isKnown(row)) flights.add(this.#flightOf(row, urgency));
    for (const flight of flights) flight.waiters++;
    if (urgency === "on-demand") {
      this.parts.queue.noteDemand();
      const ahead = this.#lookAhead(missing[0] as number, missing.at(-1) as number);
      for (const row of missing) onDemand?.({ ...this.#placeOf(row), isAwaited: true });
      for (const row of ahead) onDemand?.({ ...this.#placeOf(row), isAwaited: false });
    }
    try {
      await unlessAborted(Promise.all(Array.from(flights, (flight) => flight.settled)), signal);
    } finally {
      for (const flight of flights) this.#flights.leave(flight);
    }
    for (const flight of flights) {
      if (flight.failures.size === 0) continue;
      for (const row of missing) if (flight.failures.has(row)) throw flight.failures.get(row);
    }
    // last, so that the other chunks are available
    for (const row of missing) if (!readiness.isKnown(row)) throw this.#unknown(row);
  }

  /** Implements `Blob.confineNeighbours`. */
  confineNeighbours(offset: number, length: number): void {
    this.#readAhead.confine(offset, length);
  }

  /** A reader has read a watched chunk, which was cached. */
  reached(row: number): void {
    if (this.#closed === undefined && row < this.parts.target.columns.count) this.#lookAhead(row, row);
  }

  /** Aborts everything in flight; callers get "interrupted". Resolves when nothing accesses the files any more. */
  async close(): Promise<void> {
    this.#closed = new NydusGdError("interrupted", `Cannot read blob ${this.parts.id}: it is being closed`);
    this.#checker.close();
    this.#requests.abort(this.#closed);
    this.#flights.close(this.#closed);
    await this.#running.settled();
    this.#flights.settleAll(this.#closed);
  }

  #flightOf(row: number, urgency: Urgency): Flight {
    const unit = this.index.unitOf(row);
    const present = this.#flights.get(unit);
    if (present !== undefined) {
      if (urgency === "on-demand") this.#flights.promote(present);
      return present;
    }
    const { readiness } = this.parts;
    const rows = this.index.rowsOf(unit).filter((each) => !readiness.isReady(each) && readiness.isKnown(each));
    const flight = new Flight(unit, rows, urgency);
    this.#flights.add(flight);
    if (rows.some((each) => readiness.isClaimed(each))) this.#checker.add(flight);
    else this.#flights.enqueue(flight);
    return flight;
  }

  #placeOf(row: number): Pick<DemandedChunk, "offset" | "length"> {
    const { uncompressedOffset, uncompressedSize } = this.parts.target.columns;
    return { offset: uncompressedOffset[row] as number, length: uncompressedSize[row] as number };
  }

  /**
   * Reads ahead of a reader at rows `first` to `last`, in the same request if these must be fetched. Returns the rows
   * read ahead, without the surroundings, of which few will be read.
   */
  #lookAhead(first: number, last: number): readonly number[] {
    const { target: { columns }, readiness, watched } = this.parts;
    const wanted = (row: number) =>
      !readiness.isReady(row) && readiness.isKnown(row) && this.#flights.get(this.index.unitOf(row)) === undefined;
    const { ahead, surroundings = [], watch } = this.#readAhead.after(columns, first, last, wanted);
    for (const row of ahead) this.#flightOf(row, "read-ahead").isNeighbour = true;
    for (const row of surroundings) this.#flightOf(row, "read-ahead");
    if (watch !== undefined) setBit(watched, watch);
    return ahead;
  }

  /** The cached chunks of the flight were verified: `flight.rows` are those not in the cache. */
  #checked(flight: Flight, error: unknown): void {
    if (error !== undefined || flight.rows.length === 0) this.#flights.settle(flight, error);
    else this.#flights.requeue(flight);
  }

  #unknown(row: number): NydusGdError {
    const state = "the image has no digest of it";
    return new NydusGdError("invalid-image", `Cannot read chunk ${row} of blob ${this.parts.id}: ${state}`);
  }
}
