/**
 * Compression info (CI, "blob meta") of a v6 blob: where each chunk is stored in the blob.
 *
 * ```
 * in the blob:   │ chunk data │ CI, compressed │ CI header, 4096 bytes │ …
 * in the cache:  │ CI, plain, zero-padded to 4096 │ CI header │            <id>.blob.meta
 * plain CI:      │ chunk info × count, 16 (V1) or 24 (V2) bytes │ context × n, 40 bytes │ windows of gzip contexts │
 * ```
 * Sizes and offsets are in bytes. A table accepted by {@link parseBlobMeta} cannot make a reader write one chunk over
 * another in the cache: uncompressed ranges ascend, do not overlap and end inside the blob's address space.
 *
 * Source: dragonflyoss/nydus storage/src/meta/{mod,chunk_info_v1,chunk_info_v2,batch}.rs; gzip contexts: gzip_contexts.ts.
 *
 * @module
 */
import { type BlobDescriptor, type BlobMetaLocation, CHUNK_FLAG, COMPRESSOR } from "../bootstrap.ts";
import { chunkDataEnd, chunkInfoSize, CI } from "./blob_layout.ts";
import { allocateChunkColumns, type ChunkColumns, NO_BATCH } from "./chunk_table.ts";
import { BLOB_FEATURE, has, LIMIT } from "../format/flags.ts";
import { GzipContexts } from "./gzip_contexts.ts";
import { hex32, readU64, unreadable, viewOf } from "../format/guard.ts";

export { chunkColumnsFromRecords } from "./chunk_records.ts";
export { applyDigestArray, applyDigests, countKnownDigests } from "./chunk_digests.ts";

/** Magic number at both ends of the CI header. */
export const CI_MAGIC = 0xb10bb10b;

/** Byte offsets in the CI header. */
export const CI_HEADER = {
  SIZE: CI.HEADER_SIZE,
  magic: 0,
  features: 4,
  compressor: 8,
  entries: 12,
  offset: 16,
  compressedSize: 24,
  uncompressedSize: 32,
  contextOffset: 40,
  contextSize: 48,
  contextCount: 56,
  magic2: 4092,
} as const;

/** Flags of a V2 chunk info, bits 56 to 63 of its first word. Different bits than {@link CHUNK_FLAG}. */
export const V2_FLAG = { compressed: 1, zran: 2, batch: 4, encrypted: 8, hasCrc32: 0x10 } as const;

/** Features that determine how the CI is read; the CI header and the blob table must agree on them. */
const SHAPE = BLOB_FEATURE.chunkInfoV2 | BLOB_FEATURE.zran | BLOB_FEATURE.batch;

const HEADER = "blob meta header";
const CHUNK = "blob meta chunk";

/** Range of the blob to fetch: the CI and its header. */
export function blobMetaRange(meta: BlobMetaLocation): { offset: number; length: number } {
  return { offset: meta.offset, length: meta.compressedSize + CI_HEADER.SIZE };
}

/** Splits the bytes of {@link blobMetaRange}. The CI is still compressed with `meta.compressor`. */
export function splitBlobMeta(
  bytes: Uint8Array,
  meta: BlobMetaLocation,
): { ci: Uint8Array; header: Uint8Array } {
  if (bytes.length !== meta.compressedSize + CI_HEADER.SIZE) {
    unreadable("blob meta", meta.offset, `${bytes.length} bytes, expected ${meta.compressedSize + CI_HEADER.SIZE}`);
  }
  return { ci: bytes.subarray(0, meta.compressedSize), header: bytes.subarray(meta.compressedSize) };
}

/**
 * Reads the chunk table of a v6 blob. Digests stay unknown, see chunk_digests.ts.
 *
 * @param blob the blob as described by its bootstrap
 * @param ci the CI, decompressed to `blob.meta.uncompressedSize` bytes
 * @param header the 4096 bytes that follow it
 * @throws {RafsError} when bootstrap, header and CI contradict each other, or chunks overlap or lie outside the blob
 */
export function parseBlobMeta(blob: BlobDescriptor, ci: Uint8Array, header: Uint8Array): ChunkColumns {
  const contexts = checkHeader(blob, ci, header);
  const columns = allocateChunkColumns(blob.chunkCount, contexts);
  const view = viewOf(ci);
  const v2 = has(blob.features, BLOB_FEATURE.chunkInfoV2);
  const array = blob.chunkCount * chunkInfoSize(blob.features);
  const tables: Contexts = has(blob.features, BLOB_FEATURE.zran)
    ? { gzip: new GzipContexts(view, array, contexts, columns, blob) }
    : { batch: new BatchContexts(view, blob, contexts, columns) };
  const dataEnd = chunkDataEnd(blob);
  let free = 0;
  for (let i = 0; i < columns.count; i++) {
    const at = i * (v2 ? CI.V2_SIZE : CI.V1_SIZE);
    if (v2) readV2(view, at, i, columns, tables);
    else readV1(view, at, i, columns);
    checkChunk(blob, columns, i, at, free, dataEnd);
    free = (columns.uncompressedOffset[i] as number) + (columns.uncompressedSize[i] as number);
  }
  return { ...columns, gzipStarts: tables.gzip?.starts };
}

/** Contexts that follow the chunk infos. */
interface Contexts {
  readonly batch?: BatchContexts;
  readonly gzip?: GzipContexts;
}

/** Compares the header with the blob table. Returns the number of contexts. */
function checkHeader(blob: BlobDescriptor, ci: Uint8Array, header: Uint8Array): number {
  const { meta, features } = blob;
  if (meta === undefined) return unreadable(HEADER, 0, `blob ${blob.id} has no compression info`);
  if (header.length !== CI_HEADER.SIZE) {
    unreadable(HEADER, 0, `it has ${header.length} bytes, expected ${CI_HEADER.SIZE}`);
  }
  if (ci.length !== meta.uncompressedSize) {
    unreadable(HEADER, 0, `compression info has ${ci.length} bytes, expected ${meta.uncompressedSize}`);
  }
  const view = viewOf(header);
  const u32 = (field: number) => view.getUint32(field, true);
  const u64 = (field: number) => readU64(view, field, HEADER);
  const demand = (field: number, name: string, value: number, expected: number) => {
    if (value !== expected) unreadable(HEADER, field, `${name} is ${value}, expected ${expected}`);
  };
  for (const field of [CI_HEADER.magic, CI_HEADER.magic2]) {
    if (u32(field) !== CI_MAGIC) {
      unreadable(HEADER, field, `magic is ${hex32(u32(field))}, expected ${hex32(CI_MAGIC)}`);
    }
  }
  demand(CI_HEADER.features, "shape", u32(CI_HEADER.features) & SHAPE, features & SHAPE);
  demand(CI_HEADER.entries, "number of chunks", u32(CI_HEADER.entries), blob.chunkCount);
  demand(CI_HEADER.compressor, "compressor", u32(CI_HEADER.compressor), COMPRESSOR[meta.compressor]);
  demand(CI_HEADER.offset, "offset", u64(CI_HEADER.offset), meta.offset);
  demand(CI_HEADER.compressedSize, "compressed size", u64(CI_HEADER.compressedSize), meta.compressedSize);
  demand(CI_HEADER.uncompressedSize, "uncompressed size", u64(CI_HEADER.uncompressedSize), meta.uncompressedSize);
  const array = blob.chunkCount * chunkInfoSize(features);
  if (array > ci.length) {
    unreadable(HEADER, CI_HEADER.entries, `${blob.chunkCount} chunks do not fit ${ci.length} bytes`);
  }
  if (!has(features, BLOB_FEATURE.batch) && !has(features, BLOB_FEATURE.zran)) return 0;
  const count = u32(CI_HEADER.contextCount);
  if (count > blob.chunkCount || array + count * CI.CONTEXT_SIZE > ci.length) {
    unreadable(HEADER, CI_HEADER.contextCount, `${count} contexts of ${blob.chunkCount} chunks in ${ci.length} bytes`);
  }
  if (count > 0) demand(CI_HEADER.contextOffset, "offset of the contexts", u64(CI_HEADER.contextOffset), array);
  return count;
}

/** Contexts of a blob whose small chunks were merged into batches before compression. */
class BatchContexts {
  /** Offset of each batch's stored bytes in the blob; NaN until a member has been seen. */
  readonly #start: Float64Array;

  constructor(
    private readonly view: DataView,
    private readonly blob: BlobDescriptor,
    private readonly count: number,
    private readonly columns: ChunkColumns,
  ) {
    this.#start = new Float64Array(count).fill(NaN);
  }

  /** Makes chunk `i`, whose offsets and size are already set, a member of batch `index`. */
  join(i: number, at: number, index: number, offset: number): void {
    const { columns, blob } = this;
    if (index >= this.count) unreadable(CHUNK, at, `batch is ${index}, the blob has ${this.count}`);
    const context = blob.chunkCount * CI.V2_SIZE + index * CI.CONTEXT_SIZE;
    const compressedSize = this.view.getUint32(context, true);
    const uncompressedSize = this.view.getUint32(context + 4, true);
    const isEncrypted = blob.cipher !== undefined;
    const limit = isEncrypted ? Math.max(uncompressedSize, SHORT_ENCRYPTED.size) : uncompressedSize;
    const isStored = compressedSize > 0 && compressedSize <= limit;
    if (!isStored || uncompressedSize > LIMIT.chunkSize) {
      unreadable(
        "blob meta batch",
        context,
        `${uncompressedSize} bytes are stored in ${compressedSize}, expected at most ${LIMIT.chunkSize} in ${limit}`,
      );
    }
    if (offset + (columns.uncompressedSize[i] as number) > uncompressedSize) {
      unreadable(CHUNK, at, `it ends beyond the ${uncompressedSize} bytes of batch ${index}`);
    }
    const start = columns.compressedOffset[i] as number;
    if (this.#start[index] !== start && !Number.isNaN(this.#start[index])) {
      unreadable(CHUNK, at, `it is stored at ${start}, other members of batch ${index} at ${this.#start[index]}`);
    }
    this.#start[index] = start;
    columns.compressedSize[i] = compressedSize;
    columns.batch[i] = index;
    columns.batchOffset[i] = offset;
    columns.batchUncompressedSize[index] = uncompressedSize;
    // of encrypted ones, equal sizes say nothing: a batch may be compressed to less than a block, and padded to its size
    const isPlain = !isEncrypted && compressedSize === uncompressedSize;
    columns.flags[i] = CHUNK_FLAG.batch | (isPlain ? 0 : CHUNK_FLAG.compressed) |
      (isEncrypted ? CHUNK_FLAG.encrypted : 0);
  }
}

/** Data shorter than a cipher block, as they are or compressed, grow when encrypted. */
const SHORT_ENCRYPTED = { plainBelow: 16, size: 18 } as const;

/** Stored bytes of a chunk that is not compressed. */
function storedSizeOf(plainSize: number, encrypted: boolean): number {
  return encrypted && plainSize < SHORT_ENCRYPTED.plainBelow ? SHORT_ENCRYPTED.size : plainSize;
}

/** V1: two 64-bit words. Each stores a size minus one: 20 low bits at the top of the word, 4 high bits further down. */
function readV1(view: DataView, at: number, i: number, columns: ChunkColumns): void {
  const uLow = view.getUint32(at, true), uHigh = view.getUint32(at + 4, true);
  const cLow = view.getUint32(at + 8, true), cHigh = view.getUint32(at + 12, true);
  const uncompressedSize = ((uHigh >>> 12) | ((uLow & 0xf00) << 12)) + 1;
  const compressedSize = ((cHigh >>> 12) | ((cHigh & 0xf00) << 12)) + 1;
  columns.uncompressedOffset[i] = (uHigh & 0xfff) * 0x1_0000_0000 + ((uLow & 0xffff_f000) >>> 0);
  columns.uncompressedSize[i] = uncompressedSize;
  columns.compressedOffset[i] = (cHigh & 0xff) * 0x1_0000_0000 + cLow;
  columns.compressedSize[i] = compressedSize;
  columns.flags[i] = compressedSize === uncompressedSize ? 0 : CHUNK_FLAG.compressed;
}

/** V2: three 64-bit words. The third holds a CRC, or the index of a context and the offset within it. */
function readV2(view: DataView, at: number, i: number, columns: ChunkColumns, contexts: Contexts): void {
  const uHigh = view.getUint32(at + 4, true), cHigh = view.getUint32(at + 12, true);
  const low = view.getUint32(at + 16, true), high = view.getUint32(at + 20, true);
  const stored = uHigh >>> 24;
  columns.uncompressedOffset[i] = view.getUint32(at, true) * 0x1000;
  columns.uncompressedSize[i] = (uHigh & 0xff_ffff) + 1;
  columns.compressedOffset[i] = (cHigh & 0xff) * 0x1_0000_0000 + view.getUint32(at + 8, true);
  columns.compressedSize[i] = cHigh >>> 8;
  if ((stored & (V2_FLAG.batch | V2_FLAG.zran)) !== 0) {
    const table = (stored & V2_FLAG.zran) !== 0 ? contexts.gzip : contexts.batch;
    if (table === undefined) {
      unreadable(CHUNK, at, `flags ${stored} refer to a context, the blob has no contexts of that kind`);
    }
    table.join(i, at, high, low);
    return;
  }
  let flags = (stored & V2_FLAG.compressed) === 0 ? 0 : CHUNK_FLAG.compressed;
  if ((stored & V2_FLAG.encrypted) !== 0) flags |= CHUNK_FLAG.encrypted;
  // A CRC of 0 means that the builder computed none.
  if ((stored & V2_FLAG.hasCrc32) !== 0 && low !== 0) {
    flags |= CHUNK_FLAG.hasCrc32;
    columns.crc32[i] = low;
  }
  columns.flags[i] = flags;
}

function checkChunk(
  blob: BlobDescriptor,
  columns: ChunkColumns,
  i: number,
  at: number,
  free: number,
  dataEnd: number,
): void {
  const offset = columns.uncompressedOffset[i] as number, size = columns.uncompressedSize[i] as number;
  const from = columns.compressedOffset[i] as number, stored = columns.compressedSize[i] as number;
  if (offset < free) unreadable(CHUNK, at, `chunk ${i} is at ${offset}, the previous chunk ends at ${free}`);
  if (size > blob.chunkSize) unreadable(CHUNK, at, `chunk ${i} has ${size} bytes, chunk size is ${blob.chunkSize}`);
  if (offset + size > blob.uncompressedSize) {
    unreadable(CHUNK, at, `chunk ${i} ends at ${offset + size}, the address space at ${blob.uncompressedSize}`);
  }
  if (stored === 0 || from + stored > dataEnd) {
    unreadable(CHUNK, at, `chunk ${i} has ${stored} stored bytes at ${from}, chunk data end at ${dataEnd}`);
  }
  const flags = columns.flags[i] as number;
  const isEncrypted = (flags & CHUNK_FLAG.encrypted) !== 0;
  if (isEncrypted && blob.cipher === undefined) unreadable(CHUNK, at, `chunk ${i} is encrypted, the blob is not`);
  const isPlain = columns.batch[i] === NO_BATCH && (flags & CHUNK_FLAG.compressed) === 0;
  if (isPlain && stored !== storedSizeOf(size, isEncrypted)) {
    unreadable(CHUNK, at, `chunk ${i} of ${size} bytes is stored in ${stored} bytes, but not compressed`);
  }
}
