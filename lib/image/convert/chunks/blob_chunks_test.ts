import assert from "node:assert/strict";
import { ChunkInfoWriter } from "../../../rafs/blob/chunk_info_writer.ts";
import { BlobChunks } from "./blob_chunks.ts";
import type { ParcelCompressor } from "./compress_pool.ts";
import { rafsOptions } from "../format/rafs_options.ts";

/** A compressor that has not answered yet. */
const BUSY: ParcelCompressor = {
  take: () => ({ digests: new Promise(() => {}), store: () => new Promise(() => {}) }),
  room: (sizeBytes) => new Uint8Array(sizeBytes),
  recycle: () => {},
  trim: () => Promise.resolve(),
};

/** Number of files of `size` bytes that are added before the chunks are full. */
function filesUntilFull(size: number): number {
  const chunks = new BlobChunks({
    rafs: rafsOptions({}),
    infos: new ChunkInfoWriter(2),
    compressor: BUSY,
    dictionary: undefined,
    memory: undefined,
    write: () => Promise.resolve(),
  });
  const path = new TextEncoder().encode("/folder/file");
  for (let files = 0; files < 1_000_000; files++) {
    if (chunks.isFull) return files;
    chunks.add({ path, offset: 0, listed: { size, ctimeSec: 0, ctimeNsec: 0 } }, size, true);
  }
  return Infinity;
}

Deno.test("what is in flight is bounded, of large files and of tiny ones", () => {
  assert.ok(filesUntilFull(500_000) < 40);
  assert.ok(filesUntilFull(20) < 150_000);
});
