import assert from "node:assert/strict";
import { hasCode } from "../../base/errors.ts";
import { allocateChunkColumns, type ChunkColumns } from "../../rafs/blob/chunk_table.ts";
import { addRows } from "./merge_tables.ts";

const CHUNK = 4096;
const DATA_SIZE = 4 * CHUNK;

/** Columns of four chunks, of which an image knows those at the given offsets. */
function columnsOf(offsets: Readonly<Record<number, number>>, sizeBytes = CHUNK): ChunkColumns {
  const columns = allocateChunkColumns(4, 0);
  for (const [row, offset] of Object.entries(offsets).map(([row, offset]) => [Number(row), offset] as const)) {
    columns.digests.fill(row + 1, row * 32, (row + 1) * 32);
    columns.uncompressedOffset[row] = offset;
    columns.uncompressedSize[row] = sizeBytes;
    columns.compressedOffset[row] = offset / 2;
    columns.compressedSize[row] = sizeBytes / 2;
    columns.flags[row] = row;
    columns.crc32[row] = 100 + row;
  }
  return columns;
}

Deno.test("chunks that only another image uses are added as it describes them", () => {
  const columns = columnsOf({ 0: 0, 1: CHUNK });
  addRows("a", columns, columnsOf({ 1: CHUNK, 3: 3 * CHUNK }), DATA_SIZE);
  assert.deepEqual(columns, columnsOf({ 0: 0, 1: CHUNK, 3: 3 * CHUNK }));
});

Deno.test("an image that contradicts what is known of a blob adds nothing", () => {
  const known = { 0: 0, 1: CHUNK };
  const other = (change: (columns: ChunkColumns) => void) => {
    const columns = columnsOf({ ...known, 2: 2 * CHUNK });
    change(columns);
    return columns;
  };
  const cases: [name: string, more: ChunkColumns, state: RegExp][] = [
    ["another number of chunks", allocateChunkColumns(3, 0), /has 3 chunks in this image and 4/],
    ["another digest", other(({ digests }) => digests.fill(9, 63, 64)), /chunk 1 differs/],
    ["another place", other(({ uncompressedOffset }) => uncompressedOffset[1] = 3 * CHUNK), /chunk 1 differs/],
    ["another size", other(({ uncompressedSize }) => uncompressedSize[0] = CHUNK - 1), /chunk 0 differs/],
    ["another place in the blob", other(({ compressedOffset }) => compressedOffset[1] = 7), /chunk 1 differs/],
    ["another size in the blob", other(({ compressedSize }) => compressedSize[1] = 7), /chunk 1 differs/],
    ["other flags", other(({ flags }) => flags[0] = 1), /chunk 0 differs/],
    [
      "an overlap with a known chunk",
      other(({ uncompressedOffset }) => uncompressedOffset[2] = 2 * CHUNK - 1),
      /overlaps another/,
    ],
    [
      "an end beyond the file",
      other(({ uncompressedOffset }) => uncompressedOffset[2] = 3 * CHUNK + 1),
      /ends at 16385/,
    ],
  ];
  for (const [name, more, state] of cases) {
    const columns = columnsOf(known);
    assert.throws(
      () => addRows("a", columns, more, DATA_SIZE),
      (error) => hasCode(error, "invalid-image") && state.test(error.message),
      name,
    );
    assert.deepEqual(columns, columnsOf(known), name);
  }
});
