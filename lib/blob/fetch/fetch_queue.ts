/**
 * Who may use the link: reads that somebody waits for, what is read ahead of them, and prefetch in what they leave.
 *
 * A prefetch starts only while nothing else runs or waits, and no on-demand task did for a while: what a program reads
 * comes in bursts, and a prefetch that slips into each pause takes the link from the next read. One that runs when an
 * on-demand task comes is told by its signal, so that it may give way. Tasks start at the end of the event loop's turn
 * in which they came, so that who asks in the same turn can be served together.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import type { Priority } from "../../base/limiter.ts";

/** After so long it is looked again whether prefetch may start. */
const MAX_WAIT_MS = 60_000;

/** "read-ahead": nobody waits for it yet, but a reader is on its way to it. */
export type Urgency = Priority | "read-ahead";

/** The two classes that the rooms below know. */
export function toPriority(urgency: Urgency): Priority {
  return urgency === "on-demand" ? "on-demand" : "prefetch";
}

/** How many tasks run at once. */
export interface FetchQueueOptions {
  /** All tasks. */
  readonly limit: number;
  /** Read-ahead tasks. */
  readonly readAheadLimit: number;
  /** Prefetch tasks. */
  readonly prefetchLimit: () => number;
  /** Milliseconds without an on-demand task before a prefetch starts. */
  readonly quietMs: number;
  /** Bytes a second that prefetch may use; undefined: no limit. */
  readonly prefetchRate: () => number | undefined;
}

/** A task; `overtaken` is aborted when it is a prefetch and an on-demand task has come. */
export type FetchTask<T> = (overtaken: AbortSignal) => Promise<T>;

type Start = (overtaken: AbortSignal) => Promise<void>;

/** A semaphore with three classes. */
export class FetchQueue {
  readonly #waiting: Record<Urgency, Start[]> = { "on-demand": [], "read-ahead": [], prefetch: [] };
  readonly #running: Record<Urgency, number> = { "on-demand": 0, "read-ahead": 0, prefetch: 0 };
  #overtaken = new AbortController();
  #pumpSoon = false;
  #quietSince = -Infinity;
  /** When prefetch has made up for what it used; milliseconds of performance.now(). */
  #paidUntil = -Infinity;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(readonly options: FetchQueueOptions) {}

  /** Runs `task` when its turn comes. */
  run<T>(urgency: Urgency, task: FetchTask<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiting[urgency].push((overtaken) => {
      const result = task(overtaken);
      resolve(result);
      return result.then(() => {}, () => {});
    });
    this.#schedule();
    if (urgency === "on-demand" && this.#running.prefetch > 0) {
      this.#overtaken.abort();
      this.#overtaken = new AbortController();
    }
    return promise;
  }

  /** Tasks of a class that run. */
  running(urgency: Urgency): number {
    return this.#running[urgency];
  }

  /** A prefetch uses these bytes of its share. */
  charge(bytes: number): void {
    const rate = this.options.prefetchRate();
    if (rate !== undefined) this.#paidUntil = Math.max(this.#paidUntil, performance.now()) + bytes / rate * 1000;
  }

  /** Somebody waits for what other tasks fetch, or is about to come: it is not quiet. */
  noteDemand(): void {
    this.#quietSince = performance.now();
  }

  /** Resolves when no on-demand task has run or waited for `quietMs`. */
  async whenQuiet(quietMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      throwIfAborted(signal);
      const remaining = this.#isDemanded() ? quietMs : this.#quietSince + quietMs - performance.now();
      if (remaining <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, Math.min(remaining, MAX_WAIT_MS));
      try {
        await unlessAborted(promise, signal);
      } finally {
        clearTimeout(timer);
      }
    }
  }

  /** Nothing starts any more; tasks that wait stay where they are. */
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

  /** The class whose turn it is. */
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

  /** Whether on-demand tasks have been absent long enough, and the rate allows; if not, looks again when they have. */
  #isPrefetchTime(): boolean {
    const remaining = Math.max(this.#quietSince + this.options.quietMs, this.#paidUntil) - performance.now();
    if (remaining <= 0) return true;
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#pump(), Math.min(remaining, MAX_WAIT_MS));
    return false;
  }
}
