/**
 * Schedules use of the link: on-demand reads, read-ahead, and prefetch with the capacity that these leave.
 *
 * A prefetch starts only while nothing else runs or waits, and after a quiet period without on-demand tasks: programs
 * read in bursts, and a prefetch started in each pause would delay the next read. When an on-demand task arrives,
 * running prefetches are notified by their signal, so that they can give way. Tasks start at the end of the event-loop
 * turn in which they were queued, so that requests of the same turn can be merged.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { delay, throwIfAborted } from "../../base/abort.ts";
import type { Priority } from "../../base/limiter.ts";

/** Maximum wait before checking again whether prefetch may start. */
const MAX_WAIT_MS = 60_000;

/** "read-ahead": nobody waits for it yet, but a reader will need it next. */
export type Urgency = Priority | "read-ahead";

/** Maps to the two classes that lower layers distinguish. */
export function toPriority(urgency: Urgency): Priority {
  return urgency === "on-demand" ? "on-demand" : "prefetch";
}

/** Concurrency limits. */
export interface FetchQueueOptions {
  /** All tasks. */
  readonly limit: number;
  /** Read-ahead tasks. */
  readonly readAheadLimit: number;
  /** Prefetch tasks. */
  readonly prefetchLimit: () => number;
  /** Milliseconds without an on-demand task before a prefetch starts. */
  readonly quietMs: number;
  /** Maximum bytes per second of prefetch; undefined: no limit. */
  readonly prefetchRate: () => number | undefined;
}

/**
 * A task; if it is a prefetch, `overtaken` is aborted when an on-demand task arrives. It calls `leave` when it goes on
 * without a request of its own: another one may start then.
 */
export type FetchTask<T> = (overtaken: AbortSignal, leave: () => void) => Promise<T>;

type Start = (overtaken: AbortSignal) => Promise<void>;

/** A semaphore with three priority classes. */
export class FetchQueue {
  readonly #waiting: Record<Urgency, Start[]> = { "on-demand": [], "read-ahead": [], prefetch: [] };
  readonly #running: Record<Urgency, number> = { "on-demand": 0, "read-ahead": 0, prefetch: 0 };
  #overtaken = new AbortController();
  #pumpSoon = false;
  #quietSince = -Infinity;
  /** Time of performance.now() until which prefetch has used up its rate, milliseconds. */
  #paidUntil = -Infinity;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(readonly options: FetchQueueOptions) {}

  /** Runs `task` when its turn comes. */
  run<T>(urgency: Urgency, task: FetchTask<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiting[urgency].push((overtaken) => {
      const left = Promise.withResolvers<void>();
      const result = task(overtaken, left.resolve);
      resolve(result);
      return Promise.race([result.then(() => {}, () => {}), left.promise]);
    });
    this.#schedule();
    if (urgency === "on-demand" && this.#running.prefetch > 0) {
      this.#overtaken.abort();
      this.#overtaken = new AbortController();
    }
    return promise;
  }

  /** Charges bytes to the rate limit of prefetch. */
  charge(bytes: number): void {
    const rate = this.options.prefetchRate();
    if (rate !== undefined) this.#paidUntil = Math.max(this.#paidUntil, performance.now()) + bytes / rate * 1000;
  }

  /** A reader waits for what other tasks fetch, or readers are expected: restarts the quiet period. */
  noteDemand(): void {
    this.#quietSince = performance.now();
  }

  /** Resolves when no on-demand task has run or waited for `quietMs` milliseconds. */
  async whenQuiet(quietMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      throwIfAborted(signal);
      const remaining = this.#isDemanded() ? quietMs : this.#quietSince + quietMs - performance.now();
      if (remaining <= 0) return;
      await delay(Math.min(remaining, MAX_WAIT_MS), signal);
    }
  }

  /** Starts no more tasks; waiting ones stay in the queue. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#quietTimer);
  }

  #schedule(): void {
    if (this.#pumpSoon) return;
    this.#pumpSoon = true;
    setImmediate(() => {
      this.#pumpSoon = false;
      this.#pump();
    });
  }

  #pump(): void {
    for (let urgency = this.#next(); urgency !== undefined; urgency = this.#next()) {
      const start = this.#waiting[urgency].shift();
      if (start === undefined) return;
      this.#start(urgency, start);
    }
  }

  /** Returns the class of the next task to start. */
  #next(): Urgency | undefined {
    const { limit, readAheadLimit, prefetchLimit } = this.options;
    const running = this.#running;
    const waits = (urgency: Urgency) => this.#waiting[urgency].length > 0;
    if (this.#closed || running["on-demand"] + running["read-ahead"] + running.prefetch >= limit) return undefined;
    if (waits("on-demand")) return "on-demand";
    if (waits("read-ahead") && running["read-ahead"] < readAheadLimit) return "read-ahead";
    if (!waits("prefetch") || this.#isDemanded() || running["read-ahead"] > 0) return undefined;
    return running.prefetch < prefetchLimit() && this.#isPrefetchTime() ? "prefetch" : undefined;
  }

  #start(urgency: Urgency, start: Start): void {
    this.#running[urgency]++;
    start(this.#overtaken.signal).finally(() => {
      this.#running[urgency]--;
      if (urgency === "on-demand") this.#quietSince = performance.now();
      this.#schedule();
    });
  }

  #isDemanded(): boolean {
    return this.#running["on-demand"] > 0 || this.#waiting["on-demand"].length > 0;
  }

  /** Whether the quiet period is over and the rate allows a prefetch; if not, schedules another check. */
  #isPrefetchTime(): boolean {
    const remaining = Math.max(this.#quietSince + this.options.quietMs, this.#paidUntil) - performance.now();
    if (remaining <= 0) return true;
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#pump(), Math.min(remaining, MAX_WAIT_MS));
    return false;
  }
}
