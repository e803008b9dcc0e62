/**
 * Times of use, to find what has not been used for longest.
 *
 * They are kept as mtimes of files, and the wall clock may be set back: what was used before would then be the most
 * recent for as long as the clock was wrong. So a time of use is always later than the ones before it.
 *
 * @module
 */

/** Gives out times of use. */
export class UseTimes {
  #lastMs: number | undefined;

  /** @param before returns the latest time of an earlier process, milliseconds since 1970; 0: none. Called once */
  constructor(private readonly before: () => number) {}

  /** The time of a use that happens now: the present or, where that is not later than the last one, just after it. */
  next(): Date {
    this.#lastMs = Math.max(Date.now(), (this.#lastMs ?? this.before()) + 1);
    return new Date(this.#lastMs);
  }
}
