/**
 * Fetches chunks of one blob, each once, however many callers request it concurrently.
 *
 * ```
 * ensure ──► flights ──► [verify chunks recorded as cached] ──► queue ──► one range request ──► decode, verify, write
 *   ▲                                                             │  adjacent chunks together, on-demand first
 *   └────────── each caller checks its own chunks ◄───────────────┘
 * ```
 * - A request is composed when it starts, not before: chunks requested meanwhile are included, and a prefetch that has
 *   not started is overtaken, or promoted when a reader needs its chunks.
 * - A chunk that a reader waits for is ready when its bytes have arrived, whatever else the request contains
 *   (range_fetch.ts).
 * - A failure is reported to the callers waiting for these chunks and then forgotten. If the source cannot serve a read
 *   of several units, each is retried alone, so that one bad range does not fail its neighbours.
 * - A chunk with wrong bytes is fetched once more, then it is "corrupt". It is never written to the cache.
 * - A caller can give up; the read is aborted only when nobody waits for any of it.
 * - What a reader is likely to need next is fetched along (read_ahead.ts). Nobody waits for it, so failures are
 *   ignored.
 * - A prefetch in flight that would delay an on-demand read for long is aborted and restarted later.
 *
 * @module
 */
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import type { ResponseBuffers } from "./response_buffers.ts";
import { setBit } from "../cache/bits.ts";
import type { WithRoom } from "../cache/cache_space.ts";
import type { ChunkFailure, DecodeTarget } from "../decode/chunk_decoder.ts";
import type { ChunkIndex } from "../tables/chunk_index.ts";
import { ClaimChecker } from "./claim_checker.ts";
import type { Decoder } from "../decode/decoder.ts";
import type { FetchQueue, Urgency } from "./fetch_queue.ts";
import { Flight, type RunningRequest } from "./flight.ts";
import type { LinkEstimate } from "./link_estimate.ts";
import { type PlannedRequest, planRequest, type RequestLimits } from "./planner.ts";
import { RangeFetch } from "./range_fetch.ts";
import { ReadAhead } from "./read_ahead.ts";
import type { Readiness } from "../cache/readiness.ts";
import type { BlobSources } from "./sources.ts";

/** Maximum delay of an on-demand read by a prefetch in flight, milliseconds. */
const GIVE_WAY_MS = 50;

/** Dependencies of a fetcher. */
export interface ChunkFetcherParts {
  /** Id of the blob, for messages. */
  readonly id: string;
  readonly target: DecodeTarget;
  /** One bit per chunk; reads of chunks whose bit is set are reported to {@link ChunkFetcher.reached}. */
  readonly watched: Uint8Array<SharedArrayBuffer>;
  readonly readiness: Readiness;
  readonly sources: BlobSources;
  readonly decoder: Decoder;
  readonly queue: FetchQueue;
  readonly link: LinkEstimate;
  readonly memory: ResponseBuffers;
  readonly limits: (urgency: Urgency) => RequestLimits;
  /** Maximum bytes by which a read is extended; 0: no read-ahead. */
  readonly maxAheadBytes: () => number;
  /** Whether the surroundings of a read are fetched on a fast link: read_ahead.ts. */
  readonly hasSurroundings: () => boolean;
  /** Runs a write of plain bytes to the cache once there is space for them. */
  readonly room: WithRoom;
  /** Hint for chunks that cannot be written to the cache. */
  readonly diskHint: string;
  /** Called for a chunk that was still wrong after it was fetched again. */
  readonly onCorrupt: (row: number) => void;
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
  /** Flights by unit. */
  readonly #flights = new Map<number, Flight>();
  readonly #queued: Record<Urgency, Set<Flight>> = {
    "on-demand": new Set(),
    "read-ahead": new Set(),
    prefetch: new Set(),
  };
  /** Whether the queue has not yet called for the flights of a class. */
  readonly #awaitsTurn: Record<Urgency, boolean> = { "on-demand": false, "read-ahead": false, prefetch: false };
  readonly #checker: ClaimChecker;
  readonly #readAhead: ReadAhead;
  readonly #running = new RunningTasks();
  readonly #requests = new Set<RunningRequest>();
  #closed: NydusGdError | undefined;

  constructor(private readonly parts: ChunkFetcherParts, public index: ChunkIndex) {
    const { target, readiness, decoder, link, maxAheadBytes, hasSurroundings } = parts;
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
      for (const flight of flights) this.#leave(flight);
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
    for (const request of this.#requests) request.controller.abort(this.#closed);
    for (const flight of this.#flights.values()) if (flight.state === "queued") this.#settle(flight, this.#closed);
    await this.#running.settled();
    for (const flight of this.#flights.values()) this.#settle(flight, this.#closed);
  }

  #flightOf(row: number, urgency: Urgency): Flight {
    const unit = this.index.unitOf(row);
    const present = this.#flights.get(unit);
    if (present !== undefined) {
      if (urgency === "on-demand") this.#promote(present);
      return present;
    }
    const { readiness } = this.parts;
    const rows = this.index.rowsOf(unit).filter((each) => !readiness.isReady(each) && readiness.isKnown(each));
    const flight = new Flight(unit, rows, urgency);
    this.#flights.set(unit, flight);
    if (rows.some((each) => readiness.isClaimed(each))) this.#checker.add(flight);
    else this.#enqueue(flight);
    return flight;
  }

  #promote(flight: Flight): void {
    if (flight.urgency === "on-demand") return;
    const queued = this.#queued[flight.urgency].delete(flight);
    flight.urgency = "on-demand";
    if (queued) this.#enqueue(flight);
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
      !readiness.isReady(row) && readiness.isKnown(row) && !this.#flights.has(this.index.unitOf(row));
    const { ahead, surroundings = [], watch } = this.#readAhead.after(columns, first, last, wanted);
    for (const row of ahead) this.#flightOf(row, "read-ahead").isNeighbour = true;
    for (const row of surroundings) this.#flightOf(row, "read-ahead");
    if (watch !== undefined) setBit(watched, watch);
    return ahead;
  }

  #enqueue(flight: Flight): void {
    if (this.#closed !== undefined) return this.#settle(flight, this.#closed);
    flight.state = "queued";
    flight.request = undefined;
    const { urgency } = flight;
    this.#queued[urgency].add(flight);
    this.#awaitTurn(urgency);
  }

  /** Has the queue call {@link #fetchNext}. There is one turn at a time, as a request fetches hundreds of flights. */
  #awaitTurn(urgency: Urgency): void {
    if (this.#awaitsTurn[urgency]) return;
    this.#awaitsTurn[urgency] = true;
    this.parts.queue.run(urgency, async (overtaken) => {
      this.#awaitsTurn[urgency] = false;
      await this.#fetchNext(urgency, overtaken);
    });
  }

  /** Requeues a flight that was in progress, unless all callers have left. */
  #requeue(flight: Flight): void {
    if (flight.waiters === 0) this.#settle(flight);
    else this.#enqueue(flight);
  }

  /** Removes one waiting caller. */
  #leave(flight: Flight): void {
    flight.waiters--;
    if (flight.waiters > 0 || flight.state === "settled") return;
    if (flight.state === "queued") {
      this.#settle(flight);
    } else if (flight.request?.reading === true && flight.request.flights.every((each) => each.waiters === 0)) {
      const { controller, flights } = flight.request;
      controller.abort();
      // a new caller must not get the interruption
      for (const each of flights) this.#settle(each);
    }
  }

  #settle(flight: Flight, error?: unknown): void {
    this.#queued[flight.urgency].delete(flight);
    if (this.#flights.get(flight.unit) === flight) this.#flights.delete(flight.unit);
    flight.settle(error);
  }

  /** The cached chunks of the flight were verified: `flight.rows` are those not in the cache. */
  #checked(flight: Flight, error: unknown): void {
    if (error !== undefined || flight.rows.length === 0) this.#settle(flight, error);
    else this.#requeue(flight);
  }

  // Requests

  /** Runs one request, for on-demand flights as long as there are any. */
  async #fetchNext(turn: Urgency, overtaken: AbortSignal): Promise<void> {
    const demand = this.#queued["on-demand"].values().next().value;
    const first = demand ?? this.#queued[turn].values().next().value;
    if (first === undefined) return;
    const fetching = this.#running.add(this.#fetch(first, overtaken));
    if (this.#queued[turn].size > 0) this.#awaitTurn(turn);
    await fetching;
  }

  /** Fetches `first` and adjacent flights in the queue. Never rejects. */
  async #fetch(first: Flight, overtaken: AbortSignal): Promise<void> {
    const plan = this.#plan(first);
    const flights = plan.units.map((unit) => this.#flights.get(unit) as Flight);
    for (const flight of flights) this.#queued[flight.urgency].delete(flight);
    let gaveWay = false;
    const request = new RangeFetch(this.parts, {
      decoded: (flight, failures) => this.#decoded(flight, failures),
      failed: (failed, error) => this.#failed(failed, gaveWay, error),
    }, { plan, flights, first });
    this.#requests.add(request);
    const giveWay = () => {
      if (!this.#maySurrender(request, plan.length)) return;
      gaveWay = true;
      request.controller.abort();
    };
    if (first.urgency === "prefetch") {
      this.parts.queue.charge(plan.length);
      overtaken.addEventListener("abort", giveWay, { once: true });
    }
    try {
      await request.run();
    } finally {
      this.#requests.delete(request);
      overtaken.removeEventListener("abort", giveWay);
    }
  }

  /** Whether to abort a prefetch of `length` bytes in favour of an on-demand read. */
  #maySurrender({ reading, flights }: RunningRequest, length: number): boolean {
    const isAwaited = flights.some(({ urgency }) => urgency === "on-demand");
    return reading && !isAwaited && this.parts.link.transferMs(length) > GIVE_WAY_MS;
  }

  /** Plans a request that includes `first`; an on-demand one also includes read-ahead neighbours. */
  #plan(first: Flight): PlannedRequest {
    const { target, limits } = this.parts;
    const wanted = (unit: number) => {
      const flight = this.#flights.get(unit);
      if (flight === undefined || flight.state !== "queued" || first.alone || flight.alone) return false;
      return flight.urgency === first.urgency || (first.urgency === "on-demand" && flight.isNeighbour);
    };
    return planRequest(target.columns, this.index, first.unit, wanted, limits(first.urgency));
  }

  /** Retries flights of a shared request separately, if one of them may have failed the others. */
  #failed(flights: readonly Flight[], gaveWay: boolean, error: unknown): void {
    const hasRiders = flights.some(({ waiters }) => waiters === 0);
    const isShared = flights.length > 1 && (hasRiders || hasCode(error, "io"));
    for (const flight of flights) {
      if (flight.state === "settled") continue;
      if (!gaveWay && !isShared) {
        this.#settle(flight, error);
        continue;
      }
      flight.alone ||= !gaveWay;
      this.#requeue(flight);
    }
  }

  /** Handles a decoded flight: settles it, or refetches it once because of wrong bytes. */
  #decoded(flight: Flight, failures: readonly ChunkFailure[]): void {
    if (
      failures.some(({ code }) => code === "corrupt") && flight.corruptResponses === 0 && flight.state !== "settled"
    ) {
      flight.rows = failures.map(({ row }) => row);
      flight.corruptResponses++;
      flight.alone = true;
      this.#requeue(flight);
      return;
    }
    for (const failure of failures) {
      flight.failures.set(failure.row, this.#error(failure));
      if (failure.code === "corrupt") this.parts.onCorrupt(failure.row);
    }
    this.#settle(flight);
  }

  #error({ row, code, state, hint = code === "io" ? this.parts.diskHint : undefined }: ChunkFailure): NydusGdError {
    const message = `Cannot read chunk ${row} of blob ${this.parts.id}: ${state}`;
    return new NydusGdError(code, message, hint === undefined ? {} : { hint });
  }

  #unknown(row: number): NydusGdError {
    const state = "the image has no digest of it";
    return new NydusGdError("invalid-image", `Cannot read chunk ${row} of blob ${this.parts.id}: ${state}`);
  }
}
