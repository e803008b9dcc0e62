/**
 * Columns and byte arenas that grow by doubling: a writer's tables without an object per row.
 *
 * @module
 */
import { copyBytes } from "../base/bytes.ts";

type Column = Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** A column of numbers. u32 unless made with {@link GrowingColumn.doubles}. */
export class GrowingColumn {
  #values: Column;
  length = 0;

  private constructor(values: Column) {
    this.#values = values;
  }

  static u32(): GrowingColumn {
    return new GrowingColumn(new Uint32Array(64));
  }

  static doubles(): GrowingColumn {
    return new GrowingColumn(new Float64Array(64));
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const { buffer, byteLength } = this.#values;
      const grown = buffer.transfer(byteLength * 2); // what is left behind would wait for a collection
      this.#values = this.#values instanceof Uint32Array ? new Uint32Array(grown) : new Float64Array(grown);
    }
    this.#values[this.length++] = value;
  }

  /** The value of a row that exists. */
  at(row: number): number {
    return this.#values[row] as number;
  }

  set(row: number, value: number): void {
    this.#values[row] = value;
  }
}

/** Bytes that are only ever appended. */
export class GrowingBytes {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  /** Appends a copy and returns where it starts. */
  append(bytes: Uint8Array): number {
    const at = this.reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return at;
  }

  /** Appends a copy of `bytes[start, end)` and returns where it starts. */
  appendRange(bytes: Uint8Array, start: number, end: number): number {
    const at = this.reserve(end - start);
    copyBytes(bytes, start, end - start, this.#bytes, at);
    return at;
  }

  /** Appends zeros and returns where they start. */
  reserve(size: number): number {
    const at = this.length;
    const needed = at + size;
    if (needed > this.#bytes.length) {
      const grown = this.#bytes.buffer.transfer(Math.max(needed, this.#bytes.length * 2)); // as above
      this.#bytes = new Uint8Array(grown);
      this.#view = new DataView(grown);
    }
    this.length = needed;
    return at;
  }

  /** The storage; valid until the next append. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.length);
  }

  /** The storage as a view; valid until the next append. */
  get view(): DataView<ArrayBuffer> {
    return this.#view;
  }
}
