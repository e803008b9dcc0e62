/**
 * Map from index to number, optimized for indexes that arrive consecutively from 0: 4 bytes each. Other indexes go to a
 * map, so that one large index costs no more than a small one.
 *
 * @module
 */
import { GrowingColumn } from "./growing.ts";

/** Map from index to an unsigned 32-bit number. */
export class IndexColumn {
  readonly #dense = GrowingColumn.u32();
  readonly #sparse = new Map<number, number>();

  /** @param value an unsigned 32-bit integer */
  set(index: number, value: number): void {
    if (index < this.#dense.length) this.#dense.set(index, value);
    else if (index === this.#dense.length) this.#dense.push(value);
    else this.#sparse.set(index, value);
  }

  /** Last value set for the index. */
  at(index: number): number | undefined {
    return index < this.#dense.length ? this.#dense.at(index) : this.#sparse.get(index);
  }
}
