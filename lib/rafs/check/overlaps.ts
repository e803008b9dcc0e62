/**
 * Finds regions of a bootstrap that overlap, so that the same bytes have two meanings.
 *
 * @module
 */
import { GrowingColumn } from "../memory/growing.ts";
import type { Region } from "../format/guard.ts";
import type { Findings } from "./findings.ts";

/** Regions with the number of the inode that owns them; 24 bytes each. */
export class PlacedPieces {
  readonly #at = GrowingColumn.doubles();
  readonly #size = GrowingColumn.doubles();
  readonly #owner = GrowingColumn.doubles();

  /** Adds a region. Empty regions are ignored. */
  add({ at, size }: Region, owner: number): void {
    if (size === 0) return;
    this.#at.push(at);
    this.#size.push(size);
    this.#owner.push(owner);
  }

  /**
   * Reports each region that begins before the preceding one has ended.
   *
   * @param nameOf description of an owner
   */
  report(findings: Findings, nameOf: (owner: number) => string): void {
    const order = Uint32Array.from({ length: this.#at.length }, (_, row) => row)
      .sort((a, b) => this.#at.at(a) - this.#at.at(b));
    let end = 0, last = 0;
    for (const row of order) {
      const at = this.#at.at(row), owner = this.#owner.at(row);
      if (at < end) {
        findings.add(
          "structure",
          nameOf(owner),
          `its bytes at ${at} overlap those of ${nameOf(last)}, which end at ${end}`,
        );
      }
      if (at + this.#size.at(row) > end) {
        end = at + this.#size.at(row);
        last = owner;
      }
    }
  }
}
