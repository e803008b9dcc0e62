import assert from "node:assert/strict";
import { allocateChunkColumns, type ChunkPlaces } from "../../rafs/blob/chunk_table.ts";
import { bitmapSize, setBit } from "./bits.ts";
import { rangesWithout } from "./lost_content.ts";

/** Places of chunks, in bytes. */
function placesOf(...chunks: { offset: number; size: number }[]): ChunkPlaces {
  const columns = allocateChunkColumns(chunks.length, 0);
  columns.uncompressedOffset.set(chunks.map(({ offset }) => offset));
  columns.uncompressedSize.set(chunks.map(({ size }) => size));
  return columns;
}

function bitsOf(count: number, ...rows: number[]): Uint8Array<ArrayBuffer> {
  const bits = new Uint8Array(bitmapSize(count));
  for (const row of rows) setBit(bits, row);
  return bits;
}

Deno.test("a block with a byte of a kept chunk is not emptied", () => {
  const places = placesOf({ offset: 0, size: 5000 }, { offset: 5000, size: 20_000 }, { offset: 25_000, size: 1000 });
  assert.deepEqual(rangesWithout(bitsOf(3, 0, 2), places, 26_000), [{ offset: 8192, length: 16_384 }]);
  assert.deepEqual(rangesWithout(bitsOf(3, 1), places, 26_000), [{ offset: 0, length: 4096 }]);
});

Deno.test("all blocks are emptied if nothing is kept, the last one too, whatever is known of them", () => {
  const places = placesOf({ offset: 0, size: 5000 });
  assert.deepEqual(rangesWithout(bitsOf(1), places, 30_000), [{ offset: 0, length: 32_768 }]);
});

Deno.test("chunks may be in any order", () => {
  const places = placesOf({ offset: 40_960, size: 4096 }, { offset: 0, size: 4096 }, { offset: 8192, size: 4096 });
  assert.deepEqual(rangesWithout(bitsOf(3, 0, 1, 2), places, 45_056), [
    { offset: 4096, length: 4096 },
    { offset: 12_288, length: 28_672 },
  ]);
});
