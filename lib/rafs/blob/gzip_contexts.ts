/**
 * Contexts of a blob whose data remain in an ordinary gzip layer (ZRan): the points at which inflating can start.
 *
 * ```
 * plain CI:  │ chunk info × count │ context × n, 40 bytes │ windows, up to 32768 bytes each │
 * ```
 * A context describes a slice of the layer and its inflated size. It relates to its chunks as a batch to its members.
 * Slices may overlap, because they begin at deflate block boundaries.
 *
 * Source: dragonflyoss/nydus storage/src/meta/zran.rs.
 *
 * @module
 */
import type { BlobDescriptor } from "../bootstrap.ts";
import { CHUNK_FLAG } from "../bootstrap.ts";
import { CI } from "./blob_layout.ts";
import type { ChunkColumns, GzipStarts } from "./chunk_table.ts";
import { LIMIT } from "../format/flags.ts";
import { readU64, unreadable } from "../format/guard.ts";

/** struct ZranInflateContext: byte offsets. */
export const CONTEXT = {
  inOffset: 0,
  outOffset: 8,
  windowOffset: 16,
  inLength: 24,
  outLength: 28,
  windowSize: 32,
  byte: 36,
  bits: 37,
} as const;

const WHAT = "blob meta gzip context";

/** Reads contexts on first reference by a chunk. */
export class GzipContexts {
  readonly starts: GzipStarts;
  readonly #seen: Uint8Array;

  /**
   * @param view of the CI
   * @param at offset of the first context
   */
  constructor(
    private readonly view: DataView,
    private readonly at: number,
    private readonly count: number,
    private readonly columns: ChunkColumns,
    private readonly blob: BlobDescriptor,
  ) {
    const windowsAt = at + count * CI.CONTEXT_SIZE;
    const windows = new Uint8Array(new SharedArrayBuffer(view.byteLength - windowsAt));
    windows.set(new Uint8Array(view.buffer, view.byteOffset + windowsAt, windows.length));
    this.starts = {
      windows,
      windowOffset: new Float64Array(new SharedArrayBuffer(count * 8)),
      windowSize: new Uint32Array(new SharedArrayBuffer(count * 4)),
      bits: new Uint8Array(new SharedArrayBuffer(count)),
      bitValue: new Uint8Array(new SharedArrayBuffer(count)),
    };
    this.#seen = new Uint8Array(count);
  }

  /** Adds chunk `i`, whose info is at `at`, to context `index` at `offset` in the context's inflated bytes. */
  join(i: number, at: number, index: number, offset: number): void {
    const { columns, view } = this;
    if (index >= this.count) unreadable("blob meta chunk", at, `context is ${index}, the blob has ${this.count}`);
    const context = this.at + index * CI.CONTEXT_SIZE;
    if (this.#seen[index] === 0) this.#read(index, context);
    if (offset + (columns.uncompressedSize[i] as number) > (columns.batchUncompressedSize[index] as number)) {
      unreadable("blob meta chunk", at, `it ends beyond the bytes of context ${index}`);
    }
    columns.compressedOffset[i] = readU64(view, context + CONTEXT.inOffset, WHAT);
    columns.compressedSize[i] = view.getUint32(context + CONTEXT.inLength, true);
    columns.batch[i] = index;
    columns.batchOffset[i] = offset;
    columns.flags[i] = CHUNK_FLAG.batch | CHUNK_FLAG.compressed;
  }

  #read(index: number, at: number): void {
    const { view, starts } = this;
    const u32 = (field: number) => view.getUint32(at + field, true);
    const inLength = u32(CONTEXT.inLength), outLength = u32(CONTEXT.outLength), windowSize = u32(CONTEXT.windowSize);
    if (inLength === 0 || outLength === 0 || outLength > LIMIT.chunkSize || inLength > 2 * LIMIT.chunkSize) {
      unreadable(WHAT, at, `${inLength} bytes of layer ${this.blob.id} inflate to ${outLength}`);
    }
    const windowOffset = readU64(view, at + CONTEXT.windowOffset, WHAT);
    if (windowSize > CI.DICTIONARY_SIZE || windowOffset + windowSize > starts.windows.length) {
      unreadable(WHAT, at, `its window of ${windowSize} bytes at ${windowOffset} is not in the blob meta`);
    }
    const bits = view.getUint8(at + CONTEXT.bits);
    if (bits > 7) unreadable(WHAT, at, `it begins with ${bits} bits of a byte`);
    starts.windowOffset[index] = windowOffset;
    starts.windowSize[index] = windowSize;
    starts.bits[index] = bits;
    starts.bitValue[index] = bits === 0 ? 0 : view.getUint8(at + CONTEXT.byte) >> (8 - bits);
    this.columns.batchUncompressedSize[index] = outLength;
    this.#seen[index] = 1;
  }
}
