/**
 * Chunk digests, from the chunk records of a bootstrap or from a blob's digest section (`blob.digest`).
 *
 * A chunk whose digest is unknown (32 zeros) is never readable. Both sources may therefore be applied one after the
 * other; where they cover the same chunk they must agree.
 *
 * @module
 */
import type { ChunkRecord } from "../bootstrap.ts";
import { type ChunkColumns, DIGEST_SIZE } from "./chunk_table.ts";
import { unreadable } from "../format/guard.ts";

const isZero = (bytes: Uint8Array, at: number): boolean => {
  for (let i = at; i < at + DIGEST_SIZE; i++) if (bytes[i] !== 0) return false;
  return true;
};

const agrees = (digests: Uint8Array, at: number, digest: Uint8Array, from: number): boolean => {
  for (let i = 0; i < DIGEST_SIZE; i++) if (digests[at + i] !== digest[from + i]) return false;
  return true;
};

/** Stores the digest at `from` of `source` in row `chunk`. Returns false if the row already holds a different one. */
function put(columns: ChunkColumns, chunk: number, source: Uint8Array, from: number): boolean {
  const at = chunk * DIGEST_SIZE;
  if (isZero(source, from)) return true;
  if (isZero(columns.digests, at)) {
    columns.digests.set(source.subarray(from, from + DIGEST_SIZE), at);
    return true;
  }
  return agrees(columns.digests, at, source, from);
}

/** Reports whether the digest of a chunk is known. */
export function isDigestKnown({ digests }: Pick<ChunkColumns, "digests">, chunk: number): boolean {
  return !isZero(digests, chunk * DIGEST_SIZE);
}

/** Number of chunks whose digest is known. */
export function countKnownDigests(columns: ChunkColumns): number {
  let known = 0;
  for (let i = 0; i < columns.count; i++) if (isDigestKnown(columns, i)) known++;
  return known;
}

/**
 * Fills in the digests of one blob's chunks from a bootstrap.
 *
 * @param records of all blobs; records of other blobs are skipped
 * @returns number of chunks whose digest is known afterwards
 * @throws {RafsError} when a record names a missing chunk, or contradicts the chunk's range or known digest
 */
export function applyDigests(
  columns: ChunkColumns,
  blobIndex: number,
  records: Iterable<Readonly<ChunkRecord>>,
): number {
  for (const record of records) {
    if (record.blobIndex !== blobIndex) continue;
    const { chunkIndex: i } = record;
    if (i >= columns.count) unreadable("RAFS chunk record", i, `blob ${blobIndex} has ${columns.count} chunks`);
    const offset = columns.uncompressedOffset[i] as number, size = columns.uncompressedSize[i] as number;
    if (record.uncompressedOffset !== offset || record.uncompressedSize !== size) {
      unreadable(
        "RAFS chunk record",
        i,
        `${record.uncompressedSize} bytes at ${record.uncompressedOffset}, the blob has ${size} at ${offset}`,
      );
    }
    if (!put(columns, i, record.digest, 0)) unreadable("RAFS chunk record", i, "the chunk has two different digests");
  }
  return countKnownDigests(columns);
}

/**
 * Fills in digests from a blob's digest section: 32 bytes per chunk, in order.
 *
 * @returns number of chunks whose digest is known afterwards
 * @throws {RafsError} when the size is wrong or a digest contradicts a known one
 */
export function applyDigestArray(columns: ChunkColumns, digests: Uint8Array): number {
  if (digests.length !== columns.count * DIGEST_SIZE) {
    unreadable("blob digests", 0, `${digests.length} bytes for ${columns.count} chunks`);
  }
  for (let i = 0; i < columns.count; i++) {
    if (!put(columns, i, digests, i * DIGEST_SIZE)) {
      unreadable("blob digests", i * DIGEST_SIZE, `chunk ${i} has another digest in the bootstrap`);
    }
  }
  return countKnownDigests(columns);
}
