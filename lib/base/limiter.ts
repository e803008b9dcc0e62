/**
 * A semaphore with two priorities: an on-demand task never waits behind a prefetch that has not started.
 *
 * @module
 */

/** "on-demand": a reader waits for it. "prefetch": fetched in advance. */
export type Priority = "on-demand" | "prefetch";

interface Waiter {
  start: () => void;
  cancelled: boolean;
}

/** Runs at most `limit` tasks at once: on-demand tasks first, each priority in order of arrival. */
export class Limiter {
  #running = 0;
  readonly #waiting: Record<Priority, Waiter[]> = { "on-demand": [], prefetch: [] };

  constructor(readonly limit: number) {
    if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`Cannot make limiter: limit is ${limit}`);
  }

  /** Runs `task` when a slot is free. An abort before its start rejects with the signal's reason. */
  async run<T>(priority: Priority, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#acquire(priority, signal);
    try {
      return await task();
    } finally {
      this.#release();
    }
  }

  #acquire(priority: Priority, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#running < this.limit) {
      this.#running++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        waiter.cancelled = true;
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        cancelled: false,
        start: () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting[priority].push(waiter);
    });
  }

  #release(): void {
    let next: Waiter | undefined;
    do {
      next = this.#waiting["on-demand"].shift() ?? this.#waiting.prefetch.shift();
    } while (next?.cancelled);
    if (next === undefined) this.#running--;
    else next.start();
  }
}
