/**
 * Devices of an EROFS image: one per blob, an address space of whole blocks in which the kernel finds the blob's
 * chunks.
 *
 * ```
 *  device   │ chunk 7 │pad│ chunk 2 │ chunk 9   │pad│        every chunk begins at a block
 *                ▲             ▲         ▲
 *  blob     … chunk 2 … chunk 7 … chunk 9 …                  the cache file, plain chunks at their offsets
 * ```
 * If every chunk of the blob already begins at a block (v6), device and cache file are identical, and the cache file
 * itself can serve as the device. A table holds only the chunks that the image uses, as the image describes them;
 * readers must compare each extent with the blob's own chunk table, as for any {@link Extent}.
 *
 * @module
 */
import { roundUp } from "../../base/bytes.ts";
import type { Extent } from "../bootstrap.ts";
import { GrowingColumn } from "../memory/growing.ts";
import { unreadable } from "../format/guard.ts";

/** Block size of an EROFS image in bytes. */
export const DEVICE_BLOCK = 4096;

/** {@link Extent.blobIndex} of a range that no chunk covers; it reads as zeros. */
export const HOLE = -1;

/** One device. Rows are chunks in ascending order. In shared memory, so that it is posted to Workers without a copy. */
export interface DeviceTable {
  readonly blobIndex: number;
  /** A multiple of {@link DEVICE_BLOCK}, at least one block. */
  readonly sizeBytes: number;
  /** Whether device offsets equal offsets in the blob's cache file. */
  readonly identical: boolean;
  readonly count: number;
  /** Block of the device at which the chunk begins. */
  readonly block: Uint32Array<SharedArrayBuffer>;
  /** Offset in the blob's address space; absent when it equals the offset in the device. */
  readonly blobOffset?: Float64Array<SharedArrayBuffer>;
  /** Plain bytes. */
  readonly length: Uint32Array<SharedArrayBuffer>;
  readonly chunkIndex: Uint32Array<SharedArrayBuffer>;
}

/** Collects the chunks of one blob that files use. */
export class DeviceBuilder {
  readonly #rows = new Map<number, number>();
  readonly #offset = GrowingColumn.doubles();
  readonly #length = GrowingColumn.u32();
  readonly #chunk = GrowingColumn.u32();
  #placed = new Float64Array(0);

  constructor(private readonly blobIndex: number) {}

  /**
   * @returns the row of the chunk for {@link offsetOf}; the same row for the same chunk
   * @throws {RafsError} when the image describes a chunk in two ways
   */
  add(chunkIndex: number, chunkOffset: number, chunkLength: number): number {
    const row = this.#rows.get(chunkIndex);
    if (row === undefined) {
      this.#rows.set(chunkIndex, this.#offset.length);
      this.#offset.push(chunkOffset);
      this.#length.push(chunkLength);
      this.#chunk.push(chunkIndex);
      return this.#offset.length - 1;
    }
    if (this.#offset.at(row) !== chunkOffset || this.#length.at(row) !== chunkLength) {
      this.#contradiction(row, chunkIndex, chunkOffset);
    }
    return row;
  }

  /** Offset of the chunk in the device. Valid after {@link finish}. */
  offsetOf(row: number): number {
    return this.#placed[row] as number;
  }

  /** @throws {RafsError} when chunks overlap */
  finish(): DeviceTable {
    const count = this.#offset.length;
    const order = this.#inOrder();
    const identical = this.#offset.values.every((offset) => offset % DEVICE_BLOCK === 0);
    const table = {
      block: new Uint32Array(new SharedArrayBuffer(count * 4)),
      ...(identical ? {} : { blobOffset: new Float64Array(new SharedArrayBuffer(count * 8)) }),
      length: new Uint32Array(new SharedArrayBuffer(count * 4)),
      chunkIndex: new Uint32Array(new SharedArrayBuffer(count * 4)),
    };
    this.#placed = new Float64Array(count);
    let blobEnd = 0, next = 0;
    for (let k = 0; k < count; k++) {
      const row = order[k] as number;
      const offset = this.#offset.at(row), length = this.#length.at(row), chunk = this.#chunk.at(row);
      if (offset < blobEnd) this.#contradiction(order[k - 1] as number, chunk, offset);
      blobEnd = offset + length;
      const at = this.#placed[row] = identical ? offset : next;
      table.block[k] = at / DEVICE_BLOCK;
      if (table.blobOffset !== undefined) table.blobOffset[k] = offset;
      table.length[k] = length;
      table.chunkIndex[k] = chunk;
      next = roundUp(at + length, DEVICE_BLOCK);
    }
    return { ...table, blobIndex: this.blobIndex, count, identical, sizeBytes: Math.max(DEVICE_BLOCK, next) };
  }

  /** Rows in ascending order of offset. */
  #inOrder(): Uint32Array {
    const count = this.#offset.length;
    let last = 0;
    for (let row = 0; row < count; row++) last = Math.max(last, this.#offset.at(row));
    const rows = new Uint32Array(count);
    for (let row = 0; row < count; row++) rows[row] = row;
    if ((last + 1) * count > Number.MAX_SAFE_INTEGER) {
      return rows.sort((a, b) => this.#offset.at(a) - this.#offset.at(b));
    }
    // Sorting plain numbers avoids a callback per comparison.
    const keys = new Float64Array(count);
    for (let row = 0; row < count; row++) keys[row] = this.#offset.at(row) * count + row;
    keys.sort();
    for (let k = 0; k < count; k++) rows[k] = (keys[k] as number) % count;
    return rows;
  }

  #contradiction(row: number, chunk: number, offset: number): never {
    const other = `chunk ${this.#chunk.at(row)} of ${this.#length.at(row)} bytes at ${this.#offset.at(row)}`;
    unreadable(`chunk ${chunk} of blob ${this.blobIndex}`, offset, `it contradicts ${other}`);
  }
}

/** Offset in the device, in bytes, at which the chunk of a row begins. */
export function deviceOffsetOf({ block }: DeviceTable, row: number): number {
  return (block[row] as number) * DEVICE_BLOCK;
}

/** Row of the last chunk that begins at or before `offset`, or -1. */
function rowAt({ count, block }: DeviceTable, offset: number): number {
  const wanted = Math.floor(offset / DEVICE_BLOCK);
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((block[middle] as number) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Extents of `[offset, offset + length)` of a device, including {@link HOLE}s, truncated at its end. */
export function deviceExtents(table: DeviceTable, offset: number, length: number): Extent[] {
  const extents: Extent[] = [];
  const end = Math.min(table.sizeBytes, offset + length);
  let row = Math.max(0, rowAt(table, offset));
  for (let from = offset; from < end; row++) {
    const start = row < table.count ? deviceOffsetOf(table, row) : end;
    const chunkLength = row < table.count ? table.length[row] as number : 0;
    if (from < start) {
      const to = Math.min(start, end);
      extents.push(hole(from, to - from));
      from = to;
    }
    const to = Math.min(end, start + chunkLength);
    if (from >= to) continue;
    const chunkOffset = table.blobOffset?.[row] ?? start;
    extents.push({
      fileOffset: from,
      blobIndex: table.blobIndex,
      chunkIndex: table.chunkIndex[row] as number,
      blobOffset: chunkOffset + from - start,
      length: to - from,
      chunkOffset,
      chunkLength,
    });
    from = to;
  }
  return extents;
}

/** All chunks of a device, each as one extent. */
export function* deviceChunks(table: DeviceTable): Generator<Extent> {
  for (let row = 0; row < table.count; row++) {
    const fileOffset = deviceOffsetOf(table, row), chunkLength = table.length[row] as number;
    const chunkOffset = table.blobOffset?.[row] ?? fileOffset;
    yield {
      fileOffset,
      blobIndex: table.blobIndex,
      chunkIndex: table.chunkIndex[row] as number,
      blobOffset: chunkOffset,
      length: chunkLength,
      chunkOffset,
      chunkLength,
    };
  }
}

function hole(fileOffset: number, length: number): Extent {
  return { fileOffset, blobIndex: HOLE, chunkIndex: 0, blobOffset: 0, length, chunkOffset: 0, chunkLength: 0 };
}
