/**
 * Has chunks of one blob fetched, once each, whoever asks and however often.
 *
 * ```
 * ensure ──► flights ──► [check what is claimed to be cached] ──► queue ──► one range request ──► decode, verify, write
 *   ▲                                                              │  neighbours together, on-demand first
 *   └────────── each caller looks at its own chunks ◄──────────────┘
 * ```
 * - A request is put together when it may start, not before: what came meanwhile rides along, and a prefetch that has
 *   not started is overtaken, or promoted when a reader wants its chunks.
 * - What somebody waits for is ready when its bytes are here, whatever else comes with them (range_fetch.ts).
 * - A failure is told to those who asked for these chunks, and then forgotten. A read of several units that the source
 *   could not serve is tried for each by itself, so that one bad range does not spoil its neighbours.
 * - A chunk with wrong bytes is fetched once more, then it is "corrupt". It is never written to the cache.
 * - A caller that gives up leaves; the read is stopped only when nobody waits for any of it.
 * - What a reader is likely to want next is fetched along (read_ahead.ts). Nobody waits for it: a failure is forgotten.
 * - A prefetch under way that would hold up an on-demand read for long is stopped and begins anew later.
 *
 * @module
 */
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { AnswerMemory } from "./answer_memory.ts";
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

/** How long a prefetch may hold up an on-demand read, milliseconds. */
const GIVE_WAY_MS = 50;

/** What a fetcher works with. */
export interface ChunkFetcherParts {
  /** Of the blob, for messages. */
  readonly id: string;
  readonly target: DecodeTarget;
  /** Bits of chunks at which a reader is to be noticed: {@link ChunkFetcher.reached}. */
  readonly watched: Uint8Array<SharedArrayBuffer>;
  readonly readiness: Readiness;
  readonly sources: BlobSources;
  readonly decoder: Decoder;
  readonly queue: FetchQueue;
  readonly link: LinkEstimate;
  readonly memory: AnswerMemory;
  readonly limits: (urgency: Urgency) => RequestLimits;
  /** Most bytes that a read is extended by; 0: not at all. */
  readonly maxAheadBytes: () => number;
  /** Writes plain bytes to the cache when there is room for them. */
  readonly room: WithRoom;
  /** A chunk was wrong however often it was fetched. */
  readonly onCorrupt: (row: number) => void;
}

/** Where a chunk is in the uncompressed address space, bytes. */
export interface ChunkPlace {
  readonly offset: number;
  readonly length: number;
}

/** Told of a chunk that is not here: a reader waits for it, or it is fetched along with such a one. */
export type OnDemand = (chunk: ChunkPlace, isAwaited: boolean) => void;

/** Fetches chunks of one blob. */
export class ChunkFetcher {
  /** By unit. */
  readonly #flights = new Map<number, Flight>();
  readonly #queued: Record<Urgency, Set<Flight>> = {
    "on-demand": new Set(),
    "read-ahead": new Set(),
    prefetch: new Set(),
  };
  readonly #checker: ClaimChecker;
  readonly #readAhead: ReadAhead;
  readonly #running = new Set<Promise<void>>();
  readonly #requests = new Set<RunningRequest>();
  #closed: NydusGdError | undefined;

  constructor(private readonly parts: ChunkFetcherParts, public index: ChunkIndex) {
    const { target, readiness, decoder, link, maxAheadBytes } = parts;
    this.#readAhead = new ReadAhead(link, maxAheadBytes);
    this.#checker = new ClaimChecker({
      target,
      readiness,
      decoder,
      onChecked: (flight, error) => this.#checked(flight, error),
      track: (work) => this.#track(work),
    });
  }

  /**
   * `Blob.ensure` of an open blob.
   *
   * @param onDemand told of what is not here, for a reader
   */
  async ensure(
    offset: number,
    length: number,
    urgency: Urgency,
    signal?: AbortSignal,
    onDemand?: OnDemand,
  ): Promise<void> {
    if (!(length > 0)) return;
    const { readiness } = this.parts;
    readiness.mendCut();
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
      for (const row of missing) onDemand?.(this.#placeOf(row), true);
      for (const row of ahead) onDemand?.(this.#placeOf(row), false);
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
    // last, so that what can be had is there
    for (const row of missing) if (!readiness.isKnown(row)) throw this.#unknown(row);
  }

  /** A reader has come to a chunk that was watched, and found it there. */
  reached(row: number): void {
    if (this.#closed === undefined && row < this.parts.target.columns.count) this.#lookAhead(row, row);
  }

  /** Units that are on their way. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** Ends what is under way; callers get "interrupted". Resolves when nothing touches the files any more. */
  async close(): Promise<void> {
    this.#closed = new NydusGdError("interrupted", `Cannot read blob ${this.parts.id}: it is being closed`);
    this.#checker.close();
    for (const request of this.#requests) request.controller.abort(this.#closed);
    for (const flight of this.#flights.values()) if (flight.state === "queued") this.#settle(flight, this.#closed);
    while (this.#running.size > 0) await Promise.all(this.#running);
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

  #placeOf(row: number): ChunkPlace {
    const { uncompressedOffset, uncompressedSize } = this.parts.target.columns;
    return { offset: uncompressedOffset[row] as number, length: uncompressedSize[row] as number };
  }

  /** A reader is at rows `first` to `last`: what it may want next sets out, with them where they have to be fetched. Gives its rows. */
  #lookAhead(first: number, last: number): readonly number[] {
    const { target: { columns }, readiness, watched } = this.parts;
    const wanted = (row: number) =>
      !readiness.isReady(row) && readiness.isKnown(row) && !this.#flights.has(this.index.unitOf(row));
    const { ahead, watch } = this.#readAhead.after(columns, first, last, wanted);
    for (const row of ahead) this.#flightOf(row, "read-ahead").isNeighbour = true;
    if (watch !== undefined) setBit(watched, watch);
    return ahead;
  }

  #enqueue(flight: Flight): void {
    if (this.#closed !== undefined) return this.#settle(flight, this.#closed);
    flight.state = "queued";
    flight.request = undefined;
    const { urgency } = flight;
    this.#queued[urgency].add(flight);
    // a turn for each flight is enough; those whose flight went with another have nothing to do
    this.parts.queue.run(urgency, (overtaken) => this.#fetchNext(urgency, overtaken));
  }

  /** {@link #enqueue} of a flight that was under way, unless everybody has left. */
  #enqueueAgain(flight: Flight): void {
    if (flight.waiters === 0) this.#settle(flight);
    else this.#enqueue(flight);
  }

  /** One caller less waits. */
  #leave(flight: Flight): void {
    flight.waiters--;
    if (flight.waiters > 0 || flight.state === "settled") return;
    if (flight.state === "queued") {
      this.#settle(flight);
    } else if (flight.request?.reading === true && flight.request.flights.every((each) => each.waiters === 0)) {
      const { controller, flights } = flight.request;
      controller.abort();
      // a caller that comes now must not get the interruption
      for (const each of flights) this.#settle(each);
    }
  }

  #settle(flight: Flight, error?: unknown): void {
    this.#queued[flight.urgency].delete(flight);
    if (this.#flights.get(flight.unit) === flight) this.#flights.delete(flight.unit);
    flight.settle(error);
  }

  /** The cache was looked at: `flight.rows` are not in it. */
  #checked(flight: Flight, error: unknown): void {
    if (error !== undefined || flight.rows.length === 0) this.#settle(flight, error);
    else this.#enqueueAgain(flight);
  }

  // Requests

  /** Runs one request, of on-demand flights as long as there are any. */
  async #fetchNext(turn: Urgency, overtaken: AbortSignal): Promise<void> {
    const demand = this.#queued["on-demand"].values().next().value;
    const first = demand ?? this.#queued[turn].values().next().value;
    if (first === undefined) return;
    const fetching = this.#fetch(first, overtaken);
    this.#track(fetching);
    await fetching;
  }

  /** Fetches `first` and its neighbours in the queue. Never rejects. */
  async #fetch(first: Flight, overtaken: AbortSignal): Promise<void> {
    const plan = this.#plan(first);
    const flights = plan.units.map((unit) => this.#flights.get(unit) as Flight);
    for (const flight of flights) this.#queued[flight.urgency].delete(flight);
    let gaveWay = false;
    const request = new RangeFetch(
      this.parts,
      {
        landed: (flight, failures) => this.#landed(flight, failures),
        failed: (failed, error) => this.#failed(failed, gaveWay, error),
      },
      plan,
      flights,
      first,
    );
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

  /** Whether a prefetch of `length` bytes is to be stopped for the sake of an on-demand read. */
  #maySurrender({ reading, flights }: RunningRequest, length: number): boolean {
    const isAwaited = flights.some(({ urgency }) => urgency === "on-demand");
    return reading && !isAwaited && this.parts.link.transferMs(length) > GIVE_WAY_MS;
  }

  /** A request with `first` in it; with one that somebody waits for go its neighbours. */
  #plan(first: Flight): PlannedRequest {
    const { target, limits } = this.parts;
    const wanted = (unit: number) => {
      const flight = this.#flights.get(unit);
      if (flight === undefined || flight.state !== "queued" || first.alone || flight.alone) return false;
      return flight.urgency === first.urgency || (first.urgency === "on-demand" && flight.isNeighbour);
    };
    return planRequest(target.columns, this.index, first.unit, wanted, limits(first.urgency));
  }

  /** What was fetched together is fetched apart, where one part may have failed the others. */
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
      this.#enqueueAgain(flight);
    }
  }

  /** The flight was decoded: done, or once more because of wrong bytes. */
  #landed(flight: Flight, failures: readonly ChunkFailure[]): void {
    if (failures.some(({ code }) => code === "corrupt") && flight.wrongAnswers === 0 && flight.state !== "settled") {
      flight.rows = failures.map(({ row }) => row);
      flight.wrongAnswers++;
      flight.alone = true;
      this.#enqueueAgain(flight);
      return;
    }
    for (const failure of failures) {
      flight.failures.set(failure.row, this.#error(failure));
      if (failure.code === "corrupt") this.parts.onCorrupt(failure.row);
    }
    this.#settle(flight);
  }

  #error({ row, code, state, hint }: ChunkFailure): NydusGdError {
    const message = `Cannot read chunk ${row} of blob ${this.parts.id}: ${state}`;
    return new NydusGdError(code, message, hint === undefined ? {} : { hint });
  }

  #unknown(row: number): NydusGdError {
    const state = "the image has no digest of it";
    return new NydusGdError("invalid-image", `Cannot read chunk ${row} of blob ${this.parts.id}: ${state}`);
  }

  #track(task: Promise<void>): void {
    const tracked = task.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}
