/**
 * A mutex per key, granted in order of arrival. Different keys do not block each other.
 *
 * Not re-entrant: a holder that requests its own key again waits forever.
 *
 * @module
 */

import { unlessAborted } from "./abort.ts";

interface Queue {
  /** Resolves when all tasks so far have ended. */
  last: Promise<void>;
  /** The holder and those that wait. */
  members: number;
}

/** A mutex for every key. Unused keys take no memory. */
export class KeyedMutex<K> {
  readonly #queues = new Map<K, Queue>();

  /**
   * Runs `task` after all earlier tasks of `key`. An abort while waiting rejects; a task that has started runs to its
   * end.
   */
  async run<T>(key: K, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const queue = this.#queues.get(key) ?? { last: Promise.resolve(), members: 0 };
    this.#queues.set(key, queue);
    const before = queue.last;
    const { promise: done, resolve: leave } = Promise.withResolvers<void>();
    queue.last = before.then(() => done);
    queue.members++;
    try {
      await unlessAborted(before, signal);
      return await task();
    } finally {
      leave();
      if (--queue.members === 0) this.#queues.delete(key);
    }
  }

  /** Number of keys that are held or awaited. */
  get size(): number {
    return this.#queues.size;
  }
}
