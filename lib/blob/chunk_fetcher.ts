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
 * - A failure is told to those who asked for these chunks, and then forgotten. A read of several units that the source
 *   could not serve is tried for each by itself, so that one bad range does not spoil its neighbours.
 * - A chunk with wrong bytes is fetched once more, then it is "corrupt". It is never written to the cache.
 * - A caller that gives up leaves; the read is stopped only when nobody waits for any of it.
 *
 * @module
 */
import { throwIfAborted, unlessAborted } from "../base/abort.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import type { Priority } from "../base/limiter.ts";
import type { ChunkFailure, DecodeTarget } from "./chunk_decoder.ts";
import type { ChunkIndex } from "./chunk_index.ts";
import type { Decoder } from "./decoder.ts";
import type { FetchQueue } from "./fetch_queue.ts";
import { Flight, type RunningRequest } from "./flight.ts";
import { type PlannedRequest, planRequest, type RequestLimits } from "./planner.ts";
import type { Readiness } from "./readiness.ts";
import type { BlobSources } from "./sources.ts";

/** Plain bytes of cached chunks that are checked in one go. */
const CHECK_BYTES = 4 * 1024 * 1024;

/** What a fetcher works with. */
export interface ChunkFetcherParts {
  /** Of the blob, for messages. */
  readonly id: string;
  readonly target: DecodeTarget;
  readonly readiness: Readiness;
  readonly sources: BlobSources;
  readonly decoder: Decoder;
  readonly queue: FetchQueue;
  readonly limits: RequestLimits;
  /** A chunk was wrong however often it was fetched. */
  readonly onCorrupt: (row: number) => void;
}

/** Fetches chunks of one blob. */
export class ChunkFetcher {
  /** By unit. */
  readonly #flights = new Map<number, Flight>();
  readonly #queued: Record<Priority, Set<Flight>> = { "on-demand": new Set(), prefetch: new Set() };
  readonly #checking: Record<Priority, Flight[]> = { "on-demand": [], prefetch: [] };
  readonly #running = new Set<Promise<void>>();
  readonly #requests = new Set<RunningRequest>();
  #checkSoon = false;
  #closed: NydusGdError | undefined;

  constructor(private readonly parts: ChunkFetcherParts, public index: ChunkIndex) {}

  /** `Blob.ensure` of an open blob. */
  async ensure(offset: number, length: number, priority: Priority, signal?: AbortSignal): Promise<void> {
    if (!(length > 0)) return;
    const { readiness } = this.parts;
    readiness.mendCut();
    const missing = this.index.rowsIn(offset, length).filter((row) => !readiness.isReady(row));
    if (missing.length === 0) return;
    throwIfAborted(signal);
    if (this.#closed !== undefined) throw this.#closed;
    const flights = new Set<Flight>();
    for (const row of missing) if (readiness.isKnown(row)) flights.add(this.#flightOf(row, priority));
    for (const flight of flights) flight.waiters++;
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

  /** Units that are on their way. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** Ends what is under way; callers get "interrupted". Resolves when nothing touches the files any more. */
  async close(): Promise<void> {
    this.#closed = new NydusGdError("interrupted", `Cannot read blob ${this.parts.id}: it is being closed`);
    for (const request of this.#requests) request.controller.abort(this.#closed);
    for (const flight of this.#flights.values()) if (flight.state === "queued") this.#settle(flight, this.#closed);
    while (this.#running.size > 0) await Promise.all(this.#running);
    for (const flight of this.#flights.values()) this.#settle(flight, this.#closed);
  }

  #flightOf(row: number, priority: Priority): Flight {
    const unit = this.index.unitOf(row);
    const present = this.#flights.get(unit);
    if (present !== undefined) {
      if (priority === "on-demand" && present.priority === "prefetch") this.#promote(present);
      return present;
    }
    const { readiness } = this.parts;
    const rows = this.index.rowsOf(unit).filter((each) => !readiness.isReady(each) && readiness.isKnown(each));
    const flight = new Flight(unit, rows, priority);
    this.#flights.set(unit, flight);
    if (rows.some((each) => readiness.isClaimed(each))) this.#checkLater(flight);
    else this.#enqueue(flight);
    return flight;
  }

  #promote(flight: Flight): void {
    const queued = this.#queued.prefetch.delete(flight);
    flight.priority = "on-demand";
    if (queued) this.#enqueue(flight);
  }

  #enqueue(flight: Flight): void {
    if (this.#closed !== undefined) return this.#settle(flight, this.#closed);
    flight.state = "queued";
    flight.request = undefined;
    const { priority } = flight;
    this.#queued[priority].add(flight);
    // a turn for each flight is enough; those whose flight went with another have nothing to do
    this.parts.queue.run(priority, () => this.#fetchNext(priority));
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
    this.#queued[flight.priority].delete(flight);
    if (this.#flights.get(flight.unit) === flight) this.#flights.delete(flight.unit);
    flight.settle(error);
  }

  // Chunks that the cache claims to have

  /** Checks the flight together with the others of this turn. */
  #checkLater(flight: Flight): void {
    flight.state = "checking";
    this.#checking[flight.priority].push(flight);
    if (this.#checkSoon) return;
    this.#checkSoon = true;
    queueMicrotask(() => {
      this.#checkSoon = false;
      if (this.#closed !== undefined) return; // close() settles them
      for (const priority of ["on-demand", "prefetch"] as const) {
        const flights = this.#checking[priority].splice(0);
        for (const part of this.#partsOf(flights)) this.#track(this.#check(part, priority));
      }
    });
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

  async #check(flights: readonly Flight[], priority: Priority): Promise<void> {
    const { target, readiness, decoder } = this.parts;
    const claimed = flights.flatMap((flight) => flight.rows.filter((row) => readiness.isClaimed(row)));
    try {
      const wrong = await decoder.check(target, claimed, priority);
      readiness.add(claimed.filter((row) => readiness.isReady(row)));
      for (const { row } of wrong) readiness.disclaim(row);
    } catch (error) {
      for (const flight of flights) this.#settle(flight, error);
      return;
    }
    for (const flight of flights) {
      flight.rows = flight.rows.filter((row) => !readiness.isReady(row));
      if (flight.rows.length === 0) this.#settle(flight);
      else this.#enqueueAgain(flight);
    }
  }

  // Requests

  /** Runs one request, of on-demand flights as long as there are any. */
  async #fetchNext(turn: Priority): Promise<void> {
    const demand = this.#queued["on-demand"].values().next().value;
    const first = demand ?? (turn === "prefetch" ? this.#queued.prefetch.values().next().value : undefined);
    if (first === undefined) return;
    const fetching = this.#fetch(first, this.#queued[first.priority]);
    this.#track(fetching);
    await fetching;
  }

  /** Fetches `first` and its neighbours in `queued`. Never rejects. */
  async #fetch(first: Flight, queued: Set<Flight>): Promise<void> {
    const { target, readiness, sources, decoder } = this.parts;
    const { priority } = first;
    const { units, offset, length } = this.#plan(first, queued);
    const flights = units.map((unit) => this.#flights.get(unit) as Flight);
    const request: RunningRequest = { flights, controller: new AbortController(), reading: true };
    for (const flight of flights) {
      queued.delete(flight);
      flight.state = "running";
      flight.request = request;
    }
    this.#requests.add(request);
    try {
      const options = { priority, signal: request.controller.signal };
      const stored = await sources.read(offset, length, options, first.wrongAnswers);
      request.reading = false;
      const rows = flights.flatMap((flight) => flight.rows);
      const failures = await decoder.decode(target, rows, stored, offset, priority);
      readiness.add(rows.filter((row) => readiness.isReady(row)));
      for (const flight of flights) this.#landed(flight, failures);
    } catch (error) {
      this.#failed(flights, error);
    } finally {
      request.reading = false;
      this.#requests.delete(request);
    }
  }

  #plan(first: Flight, queued: Set<Flight>): PlannedRequest {
    const { target, limits } = this.parts;
    const wanted = (unit: number) => {
      const flight = this.#flights.get(unit);
      return flight !== undefined && !first.alone && !flight.alone && queued.has(flight);
    };
    return planRequest(target.columns, this.index, first.unit, wanted, limits);
  }

  #failed(flights: readonly Flight[], error: unknown): void {
    if (flights.length > 1 && hasCode(error, "io")) {
      for (const flight of flights) {
        if (flight.state === "settled") continue;
        flight.alone = true;
        this.#enqueueAgain(flight);
      }
    } else {
      for (const flight of flights) this.#settle(flight, error);
    }
  }

  /** The flight was decoded: done, or once more because of wrong bytes. */
  #landed(flight: Flight, failures: readonly ChunkFailure[]): void {
    const own = failures.filter(({ row }) => flight.rows.includes(row));
    if (own.some(({ code }) => code === "corrupt") && flight.wrongAnswers === 0 && flight.state !== "settled") {
      flight.rows = own.map(({ row }) => row);
      flight.wrongAnswers++;
      flight.alone = true;
      this.#enqueueAgain(flight);
      return;
    }
    for (const failure of own) {
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
