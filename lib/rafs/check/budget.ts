/**
 * Bounds the work that a hostile image can cause with overlapping structures. Unlike in tree_budget.ts, exceeding the
 * budget is a finding and not an error, so that a check can continue.
 *
 * @module
 */
import type { Findings } from "./findings.ts";

/** Maximum number of items of one kind that a well-formed image of its size can hold. */
export class Budget {
  #exceeded = false;

  /** @param what plural noun for the finding: "directory entries" */
  constructor(private readonly findings: Findings, private readonly what: string, private left: number) {}

  /** Whether the budget has been exceeded. */
  get isExhausted(): boolean {
    return this.left < 0;
  }

  /** Takes `amount` from the budget. False when it is exceeded, which is reported as a finding once. */
  take(amount: number): boolean {
    this.left -= amount;
    if (this.left >= 0) return true;
    if (!this.#exceeded) {
      this.#exceeded = true;
      this.findings.add(
        "structure",
        "bootstrap",
        `it has more ${this.what} than its size permits; the rest is not checked`,
      );
    }
    return false;
  }
}
