/**
 * Chunk table of a v5 blob, assembled from the chunk infos of all files.
 *
 * The bootstrap lists only chunks that its files use. Rows of other chunks keep size 0 (no chunk) and no digest. Old
 * images do not record a blob's number of chunks; the highest index in use determines it.
 *
 * @module
 */
import { type BlobDescriptor, CHUNK_FLAG, type ChunkRecord } from "../bootstrap.ts";
import { allocateChunkColumns, type ChunkColumns, DIGEST_SIZE } from "./chunk_table.ts";
import { LIMIT } from "../format/flags.ts";
import { equalBytes } from "../../base/bytes.ts";
import { refuse, unreadable } from "../format/guard.ts";

const WHAT = "RAFS v5 chunk";

/**
 * Builds the chunk table of one blob, including digests.
 *
 * @param records of all blobs, from {@link Bootstrap.chunkRecords}; records of other blobs are skipped
 * @throws {RafsError} when two records of a chunk differ, or chunks overlap or lie outside the blob
 */
export function chunkColumnsFromRecords(
  blob: BlobDescriptor,
  records: Iterable<Readonly<ChunkRecord>>,
): ChunkColumns {
  let columns = allocateChunkColumns(blob.chunkCount, 0);
  if (blob.chunkCount > 0) {
    for (const record of records) if (record.blobIndex === blob.index) fill(columns, blob, record);
  } else {
    const own: ChunkRecord[] = [];
    let count = 0;
    for (const record of records) {
      if (record.blobIndex !== blob.index) continue;
      count = Math.max(count, record.chunkIndex + 1);
      own.push({ ...record });
    }
    if (count > LIMIT.chunks) unreadable(WHAT, count - 1, `index exceeds ${LIMIT.chunks - 1}`);
    columns = allocateChunkColumns(count, 0);
    for (const record of own) fill(columns, blob, record);
  }
  checkOverlaps(columns);
  return columns;
}

function fill(columns: ChunkColumns, blob: BlobDescriptor, record: Readonly<ChunkRecord>): void {
  const i = record.chunkIndex;
  if (i >= columns.count) unreadable(WHAT, i, `blob ${blob.id} has ${columns.count} chunks`);
  const compressed = (record.flags & CHUNK_FLAG.compressed) !== 0;
  const { uncompressedSize, compressedSize } = record;
  if ((record.flags & CHUNK_FLAG.encrypted) !== 0) refuse(`${WHAT} ${i}`, "encrypted chunks are not supported");
  if ((record.flags & CHUNK_FLAG.batch) !== 0) {
    refuse(`${WHAT} ${i}`, "batches without compression info are not supported");
  }
  if (
    compressedSize === 0 || compressedSize > 2 * LIMIT.chunkSize || (!compressed && compressedSize !== uncompressedSize)
  ) {
    unreadable(WHAT, i, `${uncompressedSize} bytes are stored in ${compressedSize}`);
  }
  if (blob.compressedSize > 0 && record.compressedOffset + compressedSize > blob.compressedSize) {
    unreadable(WHAT, i, `stored bytes end beyond the blob of ${blob.compressedSize} bytes`);
  }
  const limit = blob.uncompressedSize > 0 ? blob.uncompressedSize : LIMIT.uncompressedSize;
  if (record.uncompressedOffset + uncompressedSize > limit) {
    unreadable(WHAT, i, `it ends beyond the address space of ${limit} bytes`);
  }
  const flags = record.flags & (CHUNK_FLAG.compressed | (record.crc32 === 0 ? 0 : CHUNK_FLAG.hasCrc32));
  if (columns.uncompressedSize[i] === 0) {
    columns.uncompressedOffset[i] = record.uncompressedOffset;
    columns.uncompressedSize[i] = uncompressedSize;
    columns.compressedOffset[i] = record.compressedOffset;
    columns.compressedSize[i] = compressedSize;
    columns.flags[i] = flags;
    columns.crc32[i] = record.crc32;
    columns.digests.set(record.digest, i * DIGEST_SIZE);
  } else if (
    columns.uncompressedOffset[i] !== record.uncompressedOffset || columns.uncompressedSize[i] !== uncompressedSize ||
    columns.compressedOffset[i] !== record.compressedOffset || columns.compressedSize[i] !== compressedSize ||
    columns.flags[i] !== flags ||
    !equalBytes(columns.digests.subarray(i * DIGEST_SIZE, (i + 1) * DIGEST_SIZE), record.digest)
  ) {
    unreadable(WHAT, i, "two files describe it differently");
  }
}

/** Fails on overlapping chunks, which would overwrite each other in the cache. */
function checkOverlaps(columns: ChunkColumns): void {
  const { uncompressedOffset, uncompressedSize } = columns;
  let sorted = true;
  let known = 0;
  let last = -1;
  for (let i = 0; i < columns.count; i++) {
    if (uncompressedSize[i] === 0) continue;
    known++;
    if ((uncompressedOffset[i] as number) < last) sorted = false;
    last = uncompressedOffset[i] as number;
  }
  const rows = new Uint32Array(known);
  for (let i = 0, k = 0; i < columns.count; i++) if (uncompressedSize[i] !== 0) rows[k++] = i;
  if (!sorted) rows.sort((a, b) => (uncompressedOffset[a] as number) - (uncompressedOffset[b] as number));
  let free = 0;
  for (const i of rows) {
    const offset = uncompressedOffset[i] as number;
    if (offset < free) unreadable(WHAT, i, `it is at ${offset}, another chunk ends at ${free}`);
    free = offset + (uncompressedSize[i] as number);
  }
}
