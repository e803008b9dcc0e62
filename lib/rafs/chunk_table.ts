/**
 * The chunks of one blob: where each lies in the blob and in the cache file.
 *
 * Columns are typed arrays; the places of chunks in the cache file are in shared memory, so that the Workers that answer
 * the kernel read the same table as the main thread without copies. Chunk i of the blob is row i. Offsets are bytes in
 * doubles, exact up to 2^53.
 *
 * @module
 */

/**
 * Where inflating can begin in the middle of a gzip layer: one row for each batch, of which `compressedOffset` is the byte
 * behind the bits.
 */
export interface GzipStarts {
  /** Plain bytes before the starts, behind one another. */
  readonly windows: Uint8Array<SharedArrayBuffer>;
  readonly windowOffset: Float64Array<SharedArrayBuffer>;
  readonly windowSize: Uint32Array<SharedArrayBuffer>;
  /** How many of the high bits of the byte before belong to what follows, 0 to 7, and their value. */
  readonly bits: Uint8Array<SharedArrayBuffer>;
  readonly bitValue: Uint8Array<SharedArrayBuffer>;
}

/** Where chunks are in the cache file, in a form that can be posted to a Worker. */
export interface ChunkPlaces {
  readonly count: number;
  /** Offset in the uncompressed address space: the offset in the cache file. */
  readonly uncompressedOffset: Float64Array<SharedArrayBuffer>;
  readonly uncompressedSize: Uint32Array<SharedArrayBuffer>;
}

/** All columns. */
export interface ChunkColumns extends ChunkPlaces {
  /** Offset of the stored bytes in the blob; for a member of a batch that of its batch. */
  readonly compressedOffset: Float64Array;
  /** Stored bytes; for a member of a batch those of its batch. */
  readonly compressedSize: Uint32Array;
  /** CHUNK_FLAG bits. */
  readonly flags: Uint8Array;
  /** Row of `batches` for a member of a batch, else 0xffffffff. */
  readonly batch: Uint32Array;
  /** Offset of a batch member in the plain bytes of its batch. */
  readonly batchOffset: Uint32Array;
  /** CRC-32C of the plain chunk, valid with CHUNK_FLAG.hasCrc32. */
  readonly crc32: Uint32Array;
  /** 32 bytes a chunk over its plain bytes; zeros: not known, such a chunk is never readable. */
  readonly digests: Uint8Array;
  /** Plain bytes of each batch. */
  readonly batchUncompressedSize: Uint32Array;
  /** Batches are slices of a gzip layer; undefined: each is compressed by itself. */
  readonly gzipStarts?: GzipStarts | undefined;
}

/** "Not a member of a batch" in {@link ChunkColumns.batch}. */
export const NO_BATCH = 0xffffffff;

/** Bytes of a chunk digest, blake3 and sha256 alike. */
export const DIGEST_SIZE = 32;

/** Empty columns for `count` chunks and `batchCount` batches, all of them in shared memory. */
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
