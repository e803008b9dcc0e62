/**
 * Turns stored bytes into chunks in the cache file: decompress, verify the digest, write, publish.
 *
 * Synchronous, so that it runs in a decode Worker and in the main thread alike. The order guarantees that a reader
 * never sees wrong bytes: a chunk's bit in `ready` is set only after its digest matched and its write returned, and only
 * if no loss of the disk was handled meanwhile (../cache/lost_writes.ts).
 *
 * @module
 */
import { fstat } from "../../../ffi/sys_stat.ts";
import { preadExact, pwriteAll } from "../../../ffi/unistd.ts";
import { equalBytes } from "../../base/bytes.ts";
import { isDiskFull } from "../../base/disk_full.ts";
import { type ErrorCode, hasCode, messageOf } from "../../base/errors.ts";
import { type BlobCipher, CHUNK_FLAG, type Compressor, type Digester } from "../../rafs/bootstrap.ts";
import { type ChunkColumns, DIGEST_SIZE, NO_BATCH } from "../../rafs/blob/chunk_table.ts";
import { decryptXts } from "../codec/aes_xts.ts";
import { epochOf, publish, type SyncState } from "../cache/lost_writes.ts";
import type { PostedTable } from "../tables/chunk_table_file.ts";
import { decompressInto, digest } from "../codec/codec.ts";

/** What is needed to decode the chunks of a blob. */
export interface ChunkCoding {
  readonly columns: ChunkColumns;
  readonly compressor: Compressor;
  readonly digester: Digester;
  /** Applies to chunks whose flags mark them as encrypted. */
  readonly cipher?: BlobCipher | undefined;
}

/** A blob whose chunks are decoded into the cache. */
export interface DecodeTarget extends ChunkCoding {
  /** The columns in a form for Workers, unless all are in shared memory. */
  readonly posted?: PostedTable | undefined;
  /** Unique within the process. */
  readonly key: number;
  readonly ready: Uint8Array<SharedArrayBuffer>;
  readonly synced: SyncState;
  /** File descriptor of the data file. */
  readonly dataFd: number;
  /** Size of the data file in bytes. A smaller file was truncated by somebody else and must not be written to. */
  readonly dataSize: number;
}

/** Chunks as their source returned them. */
export interface StoredChunks {
  /** Members of a batch must be adjacent. */
  readonly rows: readonly number[];
  /** Bytes of the blob from `offset` on, which cover the stored bytes of every row. */
  readonly stored: Uint8Array;
  readonly offset: number;
}

/** A chunk that did not become ready, and why. Can be posted to another thread. */
export interface ChunkFailure {
  readonly row: number;
  /** "corrupt": other stored bytes may be right. Any other code is a problem of this machine; "io": of the cache. */
  readonly code: ErrorCode;
  /** The text after "Cannot read chunk N of blob X: ". */
  readonly state: string;
  readonly hint?: string;
}

/** Buffer for the plain bytes of one chunk or batch, reused between calls. */
let scratch = new Uint8Array(0);

/** Maximum bytes kept in {@link scratch}. */
const SCRATCH_BYTES = 4 * 1024 * 1024;

function room(size: number): Uint8Array<ArrayBuffer> {
  if (size > SCRATCH_BYTES) return new Uint8Array(size);
  if (scratch.length < size) scratch = new Uint8Array(Math.min(SCRATCH_BYTES, Math.max(size, 2 * scratch.length)));
  return scratch.subarray(0, size);
}

/**
 * Decodes chunks into the cache file.
 *
 * @returns the rows that failed; the others are ready, unless the disk has lost chunks meanwhile
 */
export function decodeChunks(target: DecodeTarget, chunks: StoredChunks): ChunkFailure[] {
  const failures: ChunkFailure[] = [];
  for (const { row, plain } of plainChunks(target, chunks, failures)) {
    try {
      const epoch = epochOf(target.synced);
      requireWhole(target);
      pwriteAll(target.dataFd, plain, target.columns.uncompressedOffset[row] as number);
      publish(target.synced, target.ready, row, epoch);
    } catch (error) {
      failures.push(failureOf(row, error));
    }
  }
  return failures;
}

/**
 * Decodes chunks and compares them with their digests without writing them.
 *
 * @returns the rows that failed
 */
export function verifyChunks(coding: ChunkCoding, chunks: StoredChunks): ChunkFailure[] {
  const failures: ChunkFailure[] = [];
  for (const _ of plainChunks(coding, chunks, failures));
  return failures;
}

/** Yields verified chunks; a chunk's bytes are valid until the next one is requested. Failed rows go to `failures`. */
function* plainChunks(
  coding: ChunkCoding,
  chunks: StoredChunks,
  failures: ChunkFailure[],
): Generator<{ readonly row: number; readonly plain: Uint8Array }> {
  const { columns } = coding;
  let batch = NO_BATCH;
  let unit: Uint8Array | ChunkFailure = new Uint8Array(0);
  for (const row of chunks.rows) {
    const rowBatch = columns.batch[row] as number;
    if (rowBatch === NO_BATCH || rowBatch !== batch) {
      unit = unpack(coding, row, chunks);
      batch = rowBatch;
    }
    if (!(unit instanceof Uint8Array)) {
      failures.push({ ...unit, row }); // a damaged batch fails each of its members
      continue;
    }
    const from = rowBatch === NO_BATCH ? 0 : columns.batchOffset[row] as number;
    const plain = unit.subarray(from, from + (columns.uncompressedSize[row] as number));
    const wrong = mismatch(coding, row, plain);
    if (wrong === undefined) yield { row, plain };
    else failures.push({ row, code: "corrupt", state: wrong });
  }
}

/**
 * Reads chunks that are recorded as cached from the cache file and verifies them.
 *
 * @returns the rows that failed; the others are ready, unless the disk has lost chunks meanwhile
 */
export function checkChunks(target: DecodeTarget, rows: readonly number[]): ChunkFailure[] {
  const { columns } = target;
  const failures: ChunkFailure[] = [];
  for (const row of rows) {
    try {
      const epoch = epochOf(target.synced);
      const chunk = room(columns.uncompressedSize[row] as number);
      preadExact(target.dataFd, chunk, columns.uncompressedOffset[row] as number);
      const wrong = mismatch(target, row, chunk);
      if (wrong === undefined) publish(target.synced, target.ready, row, epoch);
      else failures.push({ row, code: "corrupt", state: wrong });
    } catch (error) {
      failures.push(failureOf(row, error));
    }
  }
  return failures;
}

/** Writing past the end of a truncated file would leave zeros in chunks whose bits are set. */
function requireWhole({ dataFd, dataSize }: DecodeTarget): void {
  const { size } = fstat(dataFd);
  if (size < dataSize) throw new Error(`the cache file was truncated to ${size} bytes`);
}

/** Returns the plain bytes of a chunk, or of the batch that contains it. */
function unpack(coding: ChunkCoding, row: number, { stored, offset }: StoredChunks): Uint8Array | ChunkFailure {
  const { columns, compressor, cipher } = coding;
  const at = (columns.compressedOffset[row] as number) - offset;
  const bytes = stored.subarray(at, at + (columns.compressedSize[row] as number));
  const flags = columns.flags[row] as number;
  const batch = columns.batch[row] as number;
  const size = batch === NO_BATCH ? columns.uncompressedSize[row] : columns.batchUncompressedSize[batch];
  try {
    const open = cipher !== undefined && (flags & CHUNK_FLAG.encrypted) !== 0 ? decryptXts(cipher, bytes) : bytes;
    // padding changes the size of an encrypted batch, so only its size without padding tells whether it is compressed
    const isPlain = (flags & CHUNK_FLAG.compressed) === 0 || (open !== bytes && open.length === size);
    if (isPlain) return open;
    const plain = room(size as number);
    const { gzipStarts } = columns;
    const start = batch === NO_BATCH || gzipStarts === undefined ? undefined : { starts: gzipStarts, row: batch };
    decompressInto(compressor, open, plain, start);
    return plain;
  } catch (error) {
    return failureOf(row, error);
  }
}

/** Returns what is wrong with a chunk's bytes. The digest is always known here and is stronger than the CRC. */
function mismatch(target: ChunkCoding, row: number, chunk: Uint8Array): string | undefined {
  const { columns, digester } = target;
  const size = columns.uncompressedSize[row] as number;
  if (chunk.length !== size) return `it has ${chunk.length} bytes, expected ${size}`;
  const actual = digest(digester, chunk);
  const expected = columns.digests.subarray(row * DIGEST_SIZE, (row + 1) * DIGEST_SIZE);
  if (equalBytes(actual, expected)) return undefined;
  return `${digester} is ${actual.toHex()}, expected ${expected.slice().toHex()}`;
}

function failureOf(row: number, error: unknown): ChunkFailure {
  const state = isDiskFull(error) ? "the disk of the cache is full" : messageOf(error);
  if (!hasCode(error, "corrupt", "environment")) return { row, code: "io", state };
  return { row, code: error.code, state, ...(error.hint === undefined ? {} : { hint: error.hint }) };
}
