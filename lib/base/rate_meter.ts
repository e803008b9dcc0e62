/**
 * Counts events: in total and as a recent rate.
 *
 * ```ts
 * const misses = new RateMeter();
 * misses.mark(performance.now());
 * misses.perSecond(performance.now()); // 0.1: once in the last ten seconds
 * ```
 *
 * @module
 */

/** Seconds over which the rate is averaged. */
const WINDOW_SEC = 10;

/** Counts per second in a ring. Times are milliseconds of `performance.now`. */
export class RateMeter {
  readonly #counts = new Uint32Array(WINDOW_SEC);
  /** Second to which each count belongs. */
  readonly #seconds = new Float64Array(WINDOW_SEC).fill(-Infinity);
  #total = 0;

  /** Number of events since the start. */
  get total(): number {
    return this.#total;
  }

  /** Records an event. */
  mark(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    const cell = second % WINDOW_SEC;
    if (this.#seconds[cell] !== second) {
      this.#seconds[cell] = second;
      this.#counts[cell] = 0;
    }
    this.#counts[cell] = (this.#counts[cell] ?? 0) + 1;
    this.#total++;
  }

  /** Mean rate over the last ten seconds, including the current one. */
  perSecond(nowMs: number): number {
    const first = Math.floor(nowMs / 1000) - WINDOW_SEC + 1;
    const lately = this.#counts.reduce(
      (sum, count, cell) => (this.#seconds[cell] ?? 0) >= first ? sum + count : sum,
      0,
    );
    return lately / WINDOW_SEC;
  }
}
