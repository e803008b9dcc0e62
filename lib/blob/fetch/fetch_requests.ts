/**
 * Requests of one blob: when each starts, what it fetches, and what becomes of its flights.
 *
 * - A request is composed when it starts, not before: chunks requested meanwhile are included.
 * - If the source cannot serve a read of several units, each is retried alone, so that one bad range does not fail its
 *   neighbours.
 * - A chunk with wrong bytes is fetched once more, then it is "corrupt". It is never written to the cache.
 * - A prefetch in flight that would delay an on-demand read for long is aborted and restarted later.
 *
 * @module
 */
import { hasCode, NydusGdError } from "../../base/errors.ts";
import type { RunningTasks } from "../../base/running_tasks.ts";
import type { ChunkFailure } from "../decode/chunk_decoder.ts";
import type { ChunkIndex } from "../tables/chunk_index.ts";
import type { FetchQueue, Urgency } from "./fetch_queue.ts";
import type { Flight, RunningRequest } from "./flight.ts";
import type { Flights } from "./flights.ts";
import { type PlannedRequest, planRequest, type RequestLimits } from "./planner.ts";
import { RangeFetch, type RangeFetchParts } from "./range_fetch.ts";

/** Maximum delay of an on-demand read by a prefetch in flight, milliseconds. */
const GIVE_WAY_MS = 50;

/** Dependencies of {@link FetchRequests}. */
export interface FetchRequestsParts extends RangeFetchParts {
  /** Id of the blob, for messages. */
  readonly id: string;
  readonly queue: FetchQueue;
  readonly limits: (urgency: Urgency) => RequestLimits;
  /** Hint for chunks that cannot be written to the cache. */
  readonly diskHint: string;
  /** Called for a chunk that was still wrong after it was fetched again. */
  readonly onCorrupt: (row: number) => void;
}

/** The requests of one blob. */
export class FetchRequests {
  /** Whether the queue has not yet called for the flights of a class. */
  readonly #awaitsTurn: Record<Urgency, boolean> = { "on-demand": false, "read-ahead": false, prefetch: false };
  readonly #running = new Set<RunningRequest>();

  /**
   * @param index the present one
   * @param tasks gets each request until it has ended
   */
  constructor(
    private readonly parts: FetchRequestsParts,
    private readonly flights: Flights,
    private readonly index: () => ChunkIndex,
    private readonly tasks: RunningTasks,
  ) {}

  /** Has the queue call for a request of that urgency. There is one turn at a time, as it fetches hundreds of flights. */
  awaitTurn(urgency: Urgency): void {
    if (this.#awaitsTurn[urgency]) return;
    this.#awaitsTurn[urgency] = true;
    this.parts.queue.run(urgency, async (overtaken, leave) => {
      this.#awaitsTurn[urgency] = false;
      await this.#fetchNext(urgency, overtaken, leave);
    });
  }

  /** Aborts all requests in flight. */
  abort(reason: NydusGdError): void {
    for (const { controller } of this.#running) controller.abort(reason);
  }

  /** Runs one request, for on-demand flights as long as there are any. */
  async #fetchNext(turn: Urgency, overtaken: AbortSignal, leave: () => void): Promise<void> {
    const first = this.flights.next("on-demand") ?? this.flights.next(turn);
    if (first === undefined) return;
    const fetching = this.tasks.add(this.#fetch(first, overtaken, leave));
    if (this.flights.next(turn) !== undefined) this.awaitTurn(turn);
    await fetching;
  }

  /** Fetches `first` and adjacent flights in the queue. Never rejects. */
  async #fetch(first: Flight, overtaken: AbortSignal, leave: () => void): Promise<void> {
    const plan = this.#plan(first);
    const flights = plan.units.map((unit) => this.flights.get(unit) as Flight);
    this.flights.take(flights);
    let gaveWay = false;
    const request = new RangeFetch(this.parts, {
      decoded: (flight, failures) => this.#decoded(flight, failures),
      failed: (failed, error) => gaveWay ? this.#requeueAll(failed) : this.#failed(failed, error),
    }, { plan, flights, first, onWait: leave });
    this.#running.add(request);
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
      this.#running.delete(request);
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
      const flight = this.flights.get(unit);
      if (flight === undefined || flight.state !== "queued" || first.alone || flight.alone) return false;
      return flight.urgency === first.urgency || (first.urgency === "on-demand" && flight.isNeighbour);
    };
    return planRequest(target.columns, this.index(), first.unit, wanted, limits(first.urgency));
  }

  #requeueAll(flights: readonly Flight[]): void {
    for (const flight of flights) if (flight.state !== "settled") this.flights.requeue(flight);
  }

  /** Retries flights of a shared request separately, if one of them may have failed the others. */
  #failed(flights: readonly Flight[], error: unknown): void {
    const left = flights.filter(({ state }) => state !== "settled");
    const hasRiders = flights.some(({ waiters }) => waiters === 0);
    if (flights.length > 1 && (hasRiders || hasCode(error, "io"))) {
      for (const flight of left) flight.alone = true;
      this.#requeueAll(left);
    } else {
      for (const flight of left) this.flights.settle(flight, error);
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
      this.flights.requeue(flight);
      return;
    }
    for (const failure of failures) {
      flight.failures.set(failure.row, this.#error(failure));
      if (failure.code === "corrupt") this.parts.onCorrupt(failure.row);
    }
    this.flights.settle(flight);
  }

  #error({ row, code, state, hint = code === "io" ? this.parts.diskHint : undefined }: ChunkFailure): NydusGdError {
    const message = `Cannot read chunk ${row} of blob ${this.parts.id}: ${state}`;
    return new NydusGdError(code, message, hint === undefined ? {} : { hint });
  }
}
