/**
 * Ends what a hostile image makes endless: structures that overlap can be read over and over.
 *
 * @module
 */
import type { Findings } from "./findings.ts";

/** How much there can be of something in an honest image of that size. */
export class Budget {
  #exceeded = false;

  /** @param what "directory entries" */
  constructor(private readonly findings: Findings, private readonly what: string, private left: number) {}

  /** Whether there is no room for anything more. */
  get isExhausted(): boolean {
    return this.left < 0;
  }

  /** Whether there is room for more; that there is none is a finding, told once. */
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
