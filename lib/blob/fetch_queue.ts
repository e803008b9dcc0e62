/**
 * Who may use the link: reads that somebody waits for, and prefetch in what they leave.
 *
 * A prefetch starts only while no on-demand task runs or waits, and none did for a while: what a program reads comes in
 * bursts, and a prefetch that slips into each pause takes the link from the next read. What has started is not stopped.
 * Tasks start at the end of the event loop's turn in which they came, so that who asks in the same turn can be served
 * together.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Priority } from "../base/limiter.ts";

/** How many tasks run at once. */
export interface FetchQueueOptions {
  /** All tasks. */
  readonly limit: number;
  /** Prefetch tasks. */
  readonly prefetchLimit: number;
  /** Milliseconds without an on-demand task before a prefetch starts. */
  readonly quietMs: number;
}

/** A semaphore with two priorities. */
export class FetchQueue {
  readonly #waiting: Record<Priority, (() => Promise<void>)[]> = { "on-demand": [], prefetch: [] };
  readonly #running: Record<Priority, number> = { "on-demand": 0, prefetch: 0 };
  #pumpSoon = false;
  #quietSince = -Infinity;
  #quietTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: FetchQueueOptions) {}

  /** Runs `task` when its turn comes. */
  run<T>(priority: Priority, task: () => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiting[priority].push(() => {
      const result = task();
      resolve(result);
      return result.then(() => {}, () => {});
    });
    this.#schedule();
    return promise;
  }

  /** Tasks of a priority that run. */
  running(priority: Priority): number {
    return this.#running[priority];
  }

  /** Forgets the timer; tasks that wait stay where they are. */
  close(): void {
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
    const { limit, prefetchLimit } = this.options;
    while (this.#running["on-demand"] + this.#running.prefetch < limit) {
      const demand = this.#waiting["on-demand"].shift();
      if (demand !== undefined) {
        this.#start("on-demand", demand);
        continue;
      }
      if (this.#running["on-demand"] > 0 || this.#running.prefetch >= prefetchLimit || !this.#isQuiet()) return;
      const prefetch = this.#waiting.prefetch.shift();
      if (prefetch === undefined) return;
      this.#start("prefetch", prefetch);
    }
  }

  #start(priority: Priority, task: () => Promise<void>): void {
    this.#running[priority]++;
    task().finally(() => {
      this.#running[priority]--;
      if (priority === "on-demand") this.#quietSince = performance.now();
      this.#schedule();
    });
  }

  /** Whether on-demand tasks have been absent long enough; if not, looks again when they have. */
  #isQuiet(): boolean {
    if (this.#waiting.prefetch.length === 0) return true;
    const remaining = this.#quietSince + this.options.quietMs - performance.now();
    if (remaining <= 0) return true;
    clearTimeout(this.#quietTimer);
    this.#quietTimer = setTimeout(() => this.#pump(), remaining);
    return false;
  }
}
