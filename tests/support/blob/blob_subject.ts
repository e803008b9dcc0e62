/**
 * A blob of eight chunks as the files of the cache know it, for tests of these files.
 *
 * @module
 */
import { allocateChunkColumns } from "../../../lib/rafs/blob/chunk_table.ts";

/** Plain size of each chunk in bytes, and their number. */
export const CHUNK = 4096;
export const CHUNKS = 8;
export const ROWS: readonly number[] = Array.from({ length: CHUNKS }, (_, row) => row);

/** Adjacent chunks of the same digest. */
export const COLUMNS = allocateChunkColumns(CHUNKS, 0);
COLUMNS.digests.fill(7);
COLUMNS.uncompressedSize.fill(CHUNK);
COLUMNS.uncompressedOffset.set(ROWS.map((row) => row * CHUNK));

/** The blob with the id "a". */
export const SUBJECT = {
  id: "a",
  description: "0".repeat(32),
  digester: "sha256",
  columns: COLUMNS,
  dataSize: CHUNKS * CHUNK,
} as const;
