/**
 * How often something happens: all in all, and lately.
 *
 * ```ts
 * const misses = new RateMeter();
 * misses.mark();
 * misses.perSecond(); // 0.1: once in the last ten seconds
 * ```
 *
 * @module
 */

/** What counts as lately. */
const WINDOW_SEC = 10;

/** Counts by the second, for as long as they matter. Times in milliseconds of `performance.now`. */
export class RateMeter {
  readonly #counts = new Uint32Array(WINDOW_SEC);
  /** The second that each count is of. */
  readonly #seconds = new Float64Array(WINDOW_SEC).fill(-Infinity);
  #total = 0;

  /** How often it happened. */
  get total(): number {
    return this.#total;
  }

  /** It happened. */
  mark(nowMs = performance.now()): void {
    const second = Math.floor(nowMs / 1000);
    const cell = second % WINDOW_SEC;
    if (this.#seconds[cell] !== second) {
      this.#seconds[cell] = second;
      this.#counts[cell] = 0;
    }
    this.#counts[cell] = (this.#counts[cell] ?? 0) + 1;
    this.#total++;
  }

  /** The mean of the last ten seconds, this one included. */
  perSecond(nowMs = performance.now()): number {
    const first = Math.floor(nowMs / 1000) - WINDOW_SEC + 1;
    const lately = this.#counts.reduce(
      (sum, count, cell) => (this.#seconds[cell] ?? 0) >= first ? sum + count : sum,
      0,
    );
    return lately / WINDOW_SEC;
  }
}
