/**
 * A mutex per key, granted in order of arrival. Different keys do not block each other.
 *
 * Not re-entrant: a holder that requests its own key again waits forever.
 *
 * @module
 */

import { unlessAborted } from "./abort.ts";

/** A mutex for every key. Unused keys take no memory. */
export class KeyedMutex<K> {
  readonly #tails = new Map<K, Promise<void>>();

  /**
   * Runs `task` after all earlier tasks of `key`. An abort while waiting rejects; a task that has started runs to its
   * end.
   */
  async run<T>(key: K, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const { promise: done, resolve: release } = Promise.withResolvers<void>();
    const tail = before.then(() => done);
    this.#tails.set(key, tail);
    try {
      await unlessAborted(before, signal);
      return await task();
    } finally {
      release();
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }

  /** Number of keys that are held or awaited. */
  get size(): number {
    return this.#tails.size;
  }
}
