/**
 * One holder per key at a time, keys apart from each other in parallel, in the order of arrival.
 *
 * Not re-entrant: a holder that asks for its own key again waits for ever.
 *
 * @module
 */

import { unlessAborted } from "./abort.ts";

/** A mutex for every key; a key that nobody holds costs nothing. */
export class KeyedMutex<K> {
  readonly #tails = new Map<K, Promise<void>>();

  /**
   * Runs `task` when everybody who came before for `key` is done. An abort while waiting rejects; a task that has begun
   * ends by itself.
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

  /** Number of keys that are held or waited for. */
  get size(): number {
    return this.#tails.size;
  }
}
