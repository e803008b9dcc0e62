/**
 * Numbers by index, where indexes mostly come one after the other from 0 on: 4 bytes each, and a map for those that do
 * not, so that one large index takes no more than a small one.
 *
 * @module
 */
import { GrowingColumn } from "./growing.ts";

/** See the module. */
export class IndexColumn {
  readonly #dense = GrowingColumn.u32();
  readonly #sparse = new Map<number, number>();

  /** @param value that fits 32 bits */
  set(index: number, value: number): void {
    if (index < this.#dense.length) this.#dense.set(index, value);
    else if (index === this.#dense.length) this.#dense.push(value);
    else this.#sparse.set(index, value);
  }

  /** What was set last. */
  at(index: number): number | undefined {
    return index < this.#dense.length ? this.#dense.at(index) : this.#sparse.get(index);
  }
}
