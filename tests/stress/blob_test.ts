/**
 * Fuzzes blob metadata and contents: compression info, tables of contents, inlined bootstraps, compressed chunks.
 *
 * @module
 */
import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { lz4CompressBlock } from "../../ffi/liblz4.ts";
import { decompressInto } from "../../lib/blob/codec/codec.ts";
import { RafsError } from "../../lib/rafs/bootstrap.ts";
import { parseBlobMeta } from "../../lib/rafs/blob/blob_meta.ts";
import { NO_BATCH } from "../../lib/rafs/blob/chunk_table.ts";
import { LIMIT } from "../../lib/rafs/format/flags.ts";
import { extractBootstrap, parseToc, parseTrailer, readToc, SECTION, TAR_HEADER } from "../../lib/rafs/blob/toc.ts";
import { zstdDecompress, ZstdError } from "../../ffi/libzstd.ts";
import {
  type BlobMetaCorpus,
  blobMetaCorpus,
  CHUNK_COMPRESSORS,
  chunkSeed,
  repairTrailers,
  splitMetaInput,
  tailSeeds,
} from "../support/fuzz/blob_seeds.ts";
import { Mutator } from "../support/fuzz/mutate_bytes.ts";
import { fuzz } from "../support/fuzz/target.ts";
import { codecs, rangesOf } from "../support/rafs/rafs_fixtures.ts";

/** Maximum plain size of a decoded chunk in bytes. */
const MAX_CHUNK = 1 << 20;

let metas: BlobMetaCorpus | undefined;
const metaCorpus = async () => metas ??= await blobMetaCorpus();

fuzz(import.meta, {
  name: "blob compression info",
  inputs: async () => new Mutator((await metaCorpus()).seeds),
  open: async () => {
    const corpus = await metaCorpus();
    return (input) => parseMeta(corpus, input);
  },
});

function parseMeta(corpus: BlobMetaCorpus, input: Uint8Array): void {
  const parts = splitMetaInput(corpus, input);
  if (parts === undefined) return;
  const { blob, header, ci } = parts;
  const columns = parseBlobMeta(blob, ci, header);
  assert.equal(columns.count, blob.chunkCount);
  let free = 0;
  for (let i = 0; i < columns.count; i++) {
    const offset = columns.uncompressedOffset[i] as number, size = columns.uncompressedSize[i] as number;
    assert.ok(size >= 1 && size <= blob.chunkSize && offset >= free && offset + size <= blob.uncompressedSize);
    free = offset + size;
    const from = columns.compressedOffset[i] as number, stored = columns.compressedSize[i] as number;
    assert.ok(stored >= 1 && from + stored <= blob.compressedSize);
    const batch = columns.batch[i] as number;
    if (batch === NO_BATCH) continue;
    assert.ok((columns.batchOffset[i] as number) + size <= (columns.batchUncompressedSize[batch] as number));
    const most = columns.gzipStarts === undefined ? blob.chunkSize : LIMIT.chunkSize; // a slice has many chunks
    assert.ok((columns.batchUncompressedSize[batch] as number) <= most);
  }
}

fuzz(import.meta, {
  name: "table of contents",
  inputs: async () => {
    const seeds = await Promise.all(
      tailSeeds().map(async ({ bytes }) => {
        const last = parseTrailer(bytes.subarray(bytes.length - TAR_HEADER), bytes.length - TAR_HEADER);
        if (await readToc(rangesOf(bytes), bytes.length) === undefined || last === undefined) return [];
        const seed = new Uint8Array(4 + last.size);
        new DataView(seed.buffer).setUint32(0, bytes.length, true);
        seed.set(bytes.subarray(last.offset, last.offset + last.size), 4);
        return [{ bytes: seed }];
      }),
    );
    return new Mutator(seeds.flat());
  },
  open: () => (input) => {
    if (input.length < 4) return;
    const blobSize = new DataView(input.buffer, input.byteOffset).getUint32(0, true);
    const entries = parseToc(input.subarray(4), blobSize);
    assert.equal(new Set(entries.map(({ name }) => name)).size, entries.length);
    for (const { name, offset, size } of entries) assert.ok(name === SECTION.blob || offset + size <= blobSize);
  },
});

fuzz(import.meta, {
  name: "blob tail with an inlined bootstrap",
  inputs: () => new Mutator(tailSeeds(), { repair: repairTrailers }),
  open: () => async (input) => {
    await extractBootstrap(rangesOf(input), input.length, { ...codecs, decompress: decompressZstd });
  },
  // A blob may state bootstrap sizes up to the format's limit; pages that are never filled cost nothing.
  allocation: (length) => 2 ** 31 + (32 << 20) + 64 * length,
});

function decompressZstd(_compressor: string, data: Uint8Array, size: number): Uint8Array {
  const plain = new Uint8Array(size);
  try {
    return plain.subarray(0, zstdDecompress(data, plain));
  } catch (error) {
    if (error instanceof ZstdError) throw new RafsError(error.message);
    throw error;
  }
}

fuzz(import.meta, {
  name: "compressed chunk",
  inputs: () => {
    const plain = new Uint8Array(6000).map((_, i) => 0x61 + (i * 7919 >> 5) % 17);
    const stored = [plain, lz4CompressBlock(plain), gzipSync(plain), zstdCompressSync(plain)];
    return new Mutator([
      ...stored.map((bytes, i) => chunkSeed(i, plain.length, bytes)),
      ...stored.map((bytes, i) => chunkSeed(i, 1, i === 0 ? bytes.subarray(0, 1) : bytes)),
    ]);
  },
  open: () => (input) => {
    if (input.length < 5) return;
    const size = new DataView(input.buffer, input.byteOffset).getUint32(1, true) % MAX_CHUNK;
    const compressor = CHUNK_COMPRESSORS[(input[0] as number) % CHUNK_COMPRESSORS.length] ?? "none";
    // bytes beyond the chunk must stay unchanged
    const room = new Uint8Array(size + 64).fill(0xa5);
    try {
      decompressInto(compressor, input.subarray(5), room.subarray(0, size));
    } finally {
      assert.ok(room.subarray(size).every((byte) => byte === 0xa5));
    }
  },
});
