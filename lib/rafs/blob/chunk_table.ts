/**
 * The chunks of one blob: where each is stored in the blob and in the cache file.
 *
 * Row i is chunk i of the blob. Columns are typed arrays in shared memory, so that the Workers that answer the kernel
 * read the same table as the main thread without copies. Offsets are bytes in doubles, exact up to 2^53.
 *
 * @module
 */

/**
 * Points in a gzip layer at which inflating can start. Row i belongs to batch i, whose `compressedOffset` is the first
 * byte after the partial one.
 */
export interface GzipStarts {
  /** Windows (plain bytes that precede each start), concatenated. */
  readonly windows: Uint8Array<SharedArrayBuffer>;
  readonly windowOffset: Float64Array<SharedArrayBuffer>;
  readonly windowSize: Uint32Array<SharedArrayBuffer>;
  /** Number of high bits of the preceding byte that belong to the stream, 0 to 7, and their value. */
  readonly bits: Uint8Array<SharedArrayBuffer>;
  readonly bitValue: Uint8Array<SharedArrayBuffer>;
}

/** Locations of chunks in the cache file, in a form that can be posted to a Worker. */
export interface ChunkPlaces {
  readonly count: number;
  /** Offset in the uncompressed address space, which is the offset in the cache file. */
  readonly uncompressedOffset: Float64Array<SharedArrayBuffer>;
  readonly uncompressedSize: Uint32Array<SharedArrayBuffer>;
}

/** All columns. */
export interface ChunkColumns extends ChunkPlaces {
  /** Offset of the stored bytes in the blob; for a batch member, the offset of its batch. */
  readonly compressedOffset: Float64Array;
  /** Stored bytes; for a batch member, those of its batch. */
  readonly compressedSize: Uint32Array;
  /** CHUNK_FLAG bits. */
  readonly flags: Uint8Array;
  /** Batch index of a batch member, otherwise {@link NO_BATCH}. */
  readonly batch: Uint32Array;
  /** Offset of a batch member in the plain bytes of its batch. */
  readonly batchOffset: Uint32Array;
  /** CRC-32C of the plain chunk, valid with CHUNK_FLAG.hasCrc32. */
  readonly crc32: Uint32Array;
  /** 32 bytes per chunk, digest of its plain bytes. Zeros: unknown, and such a chunk is never readable. */
  readonly digests: Uint8Array;
  /** Plain bytes of each batch. */
  readonly batchUncompressedSize: Uint32Array;
  /** Set when batches are slices of a gzip layer; undefined when each batch is compressed separately. */
  readonly gzipStarts?: GzipStarts | undefined;
}

/** "Not a member of a batch" in {@link ChunkColumns.batch}. */
export const NO_BATCH = 0xffffffff;

/** Bytes of a chunk digest, for both blake3 and sha256. */
export const DIGEST_SIZE = 32;

/** Allocates empty columns for `count` chunks and `batchCount` batches in shared memory. */
export function allocateChunkColumns(count: number, batchCount: number): ChunkColumns {
  const shared = (bytes: number) => new SharedArrayBuffer(bytes);
  const columns = {
    count,
    uncompressedOffset: new Float64Array(shared(count * 8)),
    uncompressedSize: new Uint32Array(shared(count * 4)),
    compressedOffset: new Float64Array(shared(count * 8)),
    compressedSize: new Uint32Array(shared(count * 4)),
    flags: new Uint8Array(shared(count)),
    batch: new Uint32Array(shared(count * 4)),
    batchOffset: new Uint32Array(shared(count * 4)),
    crc32: new Uint32Array(shared(count * 4)),
    digests: new Uint8Array(shared(count * DIGEST_SIZE)),
    batchUncompressedSize: new Uint32Array(shared(batchCount * 4)),
  };
  columns.batch.fill(NO_BATCH);
  return columns;
}
