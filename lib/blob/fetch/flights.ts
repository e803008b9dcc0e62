/**
 * The flights of one blob, by their unit, and which of them wait to be fetched.
 *
 * ```
 * add ─► checking ─► queued ─► running ─► settled, and in the table no more
 *           │          ▲ │        │
 *           │          │ └────────│── nobody waits any more ──► settled
 *           │          └──────────┘   it gave way, or is fetched again, alone
 *           └── its cached chunks are right ──► settled
 * ```
 *
 * @module
 */
import type { NydusGdError } from "../../base/errors.ts";
import type { Urgency } from "./fetch_queue.ts";
import type { Flight } from "./flight.ts";

/** The flights of one blob. */
export class Flights {
  readonly #byUnit = new Map<number, Flight>();
  readonly #queued: Record<Urgency, Set<Flight>> = {
    "on-demand": new Set(),
    "read-ahead": new Set(),
    prefetch: new Set(),
  };
  #closed: NydusGdError | undefined;

  /** @param onQueued called for each flight that waits to be fetched, with its urgency */
  constructor(private readonly onQueued: (urgency: Urgency) => void) {}

  /** The flight of a unit. */
  get(unit: number): Flight | undefined {
    return this.#byUnit.get(unit);
  }

  /** Adds a flight to the table, without queueing it. */
  add(flight: Flight): void {
    this.#byUnit.set(flight.unit, flight);
  }

  /** The flight of that urgency that has waited longest. */
  next(urgency: Urgency): Flight | undefined {
    return this.#queued[urgency].values().next().value;
  }

  /** Has a flight wait to be fetched. After {@link close} it fails at once. */
  enqueue(flight: Flight): void {
    if (this.#closed !== undefined) return this.settle(flight, this.#closed);
    flight.state = "queued";
    flight.request = undefined;
    this.#queued[flight.urgency].add(flight);
    this.onQueued(flight.urgency);
  }

  /** Requeues a flight that was in progress, unless all callers have left. */
  requeue(flight: Flight): void {
    if (flight.waiters === 0) this.settle(flight);
    else this.enqueue(flight);
  }

  /** Takes flights out of the queue, to fetch them. */
  take(flights: readonly Flight[]): void {
    for (const flight of flights) this.#queued[flight.urgency].delete(flight);
  }

  /** Makes a flight on-demand. */
  promote(flight: Flight): void {
    if (flight.urgency === "on-demand") return;
    const queued = this.#queued[flight.urgency].delete(flight);
    flight.urgency = "on-demand";
    if (queued) this.enqueue(flight);
  }

  /** Removes one waiting caller. The read is aborted if nobody waits for any of it. */
  leave(flight: Flight): void {
    flight.waiters--;
    if (flight.waiters > 0 || flight.state === "settled") return;
    if (flight.state === "queued") {
      this.settle(flight);
    } else if (flight.request?.reading === true && flight.request.flights.every((each) => each.waiters === 0)) {
      const { controller, flights } = flight.request;
      controller.abort();
      // a new caller must not get the interruption
      for (const each of flights) this.settle(each);
    }
  }

  /** Ends a flight: its chunks that are not ready failed with `error`. */
  settle(flight: Flight, error?: unknown): void {
    this.#queued[flight.urgency].delete(flight);
    if (this.#byUnit.get(flight.unit) === flight) this.#byUnit.delete(flight.unit);
    flight.settle(error);
  }

  /** Fails the flights that wait to be fetched, and those that would from now on. */
  close(reason: NydusGdError): void {
    this.#closed = reason;
    for (const flight of this.#byUnit.values()) if (flight.state === "queued") this.settle(flight, reason);
  }

  /** Fails all flights that are left. */
  settleAll(reason: NydusGdError): void {
    for (const flight of this.#byUnit.values()) this.settle(flight, reason);
  }
}
