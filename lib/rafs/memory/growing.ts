/**
 * Columns and byte buffers that grow by doubling, so that a writer's tables need no object per row.
 *
 * @module
 */
import { copyBytes } from "../../base/bytes.ts";

const FIRST_BYTES = 256;

type Column = Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** Column of numbers: u32, or doubles with {@link GrowingColumn.doubles}. */
export class GrowingColumn<Values extends Column = Uint32Array<ArrayBuffer>> {
  #values: Values;
  length = 0;

  private constructor(private readonly over: (buffer: ArrayBuffer) => Values) {
    this.#values = over(new ArrayBuffer(FIRST_BYTES));
  }

  static u32(): GrowingColumn {
    return new GrowingColumn((buffer) => new Uint32Array(buffer));
  }

  static doubles(): GrowingColumn<Float64Array<ArrayBuffer>> {
    return new GrowingColumn((buffer) => new Float64Array(buffer));
  }

  /** Appends a row and returns its index. */
  push(value: number): number {
    if (this.length === this.#values.length) {
      const { buffer } = this.#values;
      this.#values = this.over(buffer.transfer(buffer.byteLength * 2)); // frees the old buffer at once
    }
    this.#values[this.length] = value;
    return this.length++;
  }

  /** Value of an existing row. */
  at(row: number): number {
    return this.#values[row] as number;
  }

  set(row: number, value: number): void {
    this.#values[row] = value;
  }

  /** Removes all rows and frees their memory immediately instead of at the next garbage collection. */
  clear(): void {
    this.#values.buffer.transfer(0);
    this.#values = this.over(new ArrayBuffer(FIRST_BYTES));
    this.length = 0;
  }

  /** All rows; valid until the next one is added. */
  get values(): Values {
    return this.#values.subarray(0, this.length) as Values;
  }
}

/** Append-only bytes. */
export class GrowingBytes {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  /** Appends a copy and returns its offset. */
  append(bytes: Uint8Array): number {
    const at = this.reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return at;
  }

  /** Appends a copy of `bytes[start, end)` and returns its offset. */
  appendRange(bytes: Uint8Array, start: number, end: number): number {
    const at = this.reserve(end - start);
    copyBytes(bytes, start, end - start, this.#bytes, at);
    return at;
  }

  /** Appends zeros and returns their offset. */
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
