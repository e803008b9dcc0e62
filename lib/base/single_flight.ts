/**
 * Deduplicates concurrent calls: calls with the same key share one promise.
 *
 * @module
 */

/** Runs at most one task per key at a time; callers that arrive meanwhile share its result. */
export class SingleFlight<K, V> {
  readonly #flights = new Map<K, Promise<V>>();

  /**
   * Returns the running task of `key`, or starts a new one. A failed task is forgotten: the next caller tries again.
   */
  run(key: K, task: () => Promise<V>): Promise<V> {
    const running = this.#flights.get(key);
    if (running !== undefined) return running;
    const flight = task().finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }

  /** Resolves when all tasks that are now in flight have settled. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#flights.values());
  }
}
