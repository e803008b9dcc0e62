/**
 * Bounds the work that a hostile image can cause by structures that overlap, as tree_budget.ts does, for a check that has
 * to go on: what exceeds the budget is a finding, not an error.
 *
 * @module
 */
import type { Findings } from "./findings.ts";

/** How much of something a well-formed image of that size can hold. */
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
        `it has more ${this.what} than room for them; the rest is not checked`,
      );
    }
    return false;
  }
}
