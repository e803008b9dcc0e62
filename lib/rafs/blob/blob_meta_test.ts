import assert from "node:assert/strict";
import fc from "fast-check";
import type { BlobDescriptor, ChunkRecord } from "../bootstrap.ts";
import { CHUNK_FLAG, RafsError } from "../bootstrap.ts";
import { checkMetaSizes } from "./blob_layout.ts";
import { blobMetaRange, parseBlobMeta, splitBlobMeta } from "./blob_meta.ts";
import { cacheBlobMetaImage, cacheSizes, splitCacheBlobMeta } from "./cache_layout.ts";
import { ChunkInfoWriter, type PlacedChunk } from "./chunk_info_writer.ts";
import { applyDigestArray, applyDigests } from "./chunk_digests.ts";
import { chunkColumnsFromRecords } from "./chunk_records.ts";
import { NO_BATCH } from "./chunk_table.ts";
import { BLOB_FEATURE } from "../format/flags.ts";

/** A blob whose chunk data are followed by the CI of `writer`. */
function describe(
  writer: ChunkInfoWriter,
  dataSize: number,
): { blob: BlobDescriptor; ci: Uint8Array; header: Uint8Array } {
  const ci = writer.toBytes();
  const features = (writer.features | 0x4000_0000) >>> 0;
  const meta = {
    compressor: "none",
    offset: dataSize,
    compressedSize: ci.length,
    uncompressedSize: ci.length,
  } as const;
  const blob: BlobDescriptor = {
    index: 0,
    id: "b",
    compressor: "zstd",
    digester: "blake3",
    chunkSize: 1 << 24,
    chunkCount: writer.count,
    features,
    compressedSize: dataSize + ci.length + 4096,
    uncompressedSize: writer.uncompressedSize,
    meta,
  };
  return { blob, ci, header: writer.header(meta, features) };
}

const chunk = fc.record({
  size: fc.oneof(fc.integer({ min: 1, max: 1 << 24 }), fc.constantFrom(1, 4096, 4097, 1 << 20, (1 << 20) + 1, 1 << 24)),
  compression: fc.integer({ min: 0, max: 100 }),
  crc32: fc.integer({ min: 0, max: 0xffff_ffff }),
  gap: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2 ** 33 })),
});

Deno.test("chunk infos of both versions are read back as they were written", () => {
  fc.assert(
    fc.property(fc.constantFrom(1 as const, 2 as const), fc.array(chunk, { maxLength: 40 }), (version, chunks) => {
      const writer = new ChunkInfoWriter(version);
      let at = 0;
      const expected = chunks.map(({ size, compression, crc32, gap }) => {
        let stored = compression === 0 ? size : Math.max(1, Math.floor(size * compression / 101));
        if (version === 2) stored = Math.min(stored, 0xff_ffff);
        const compressedOffset = at + gap;
        at = compressedOffset + stored;
        const { uncompressedOffset } = writer.add({ size, compressedOffset, compressedSize: stored, crc32 });
        return { uncompressedOffset, size, compressedOffset, stored, crc32: version === 2 ? crc32 : 0 };
      });
      if (at > 2 ** 39) return;
      const { blob, ci, header } = describe(writer, at);
      const columns = parseBlobMeta(blob, ci, header);
      assert.equal(columns.count, chunks.length);
      expected.forEach((one, i) => {
        assert.equal(columns.uncompressedOffset[i], one.uncompressedOffset);
        assert.equal(columns.uncompressedSize[i], one.size);
        assert.equal(columns.compressedOffset[i], one.compressedOffset);
        assert.equal(columns.compressedSize[i], one.stored);
        assert.equal(columns.crc32[i], one.crc32);
        assert.equal(columns.batch[i], NO_BATCH);
        const flags = (one.stored === one.size ? 0 : CHUNK_FLAG.compressed) |
          (one.crc32 === 0 ? 0 : CHUNK_FLAG.hasCrc32);
        assert.equal(columns.flags[i], flags);
      });
    }),
  );
});

Deno.test("the chunk infos of a real blob match the documentation", () => {
  // dragonflyoss/nydus tests/texture/blobs/be7d77ee…: two chunks, V1.
  const ci = Uint8Array.fromHex("0000000000202204" + "0000000000b02d01" + "0050000000704503" + "dc12000000d0b900");
  const header = new Uint8Array(4096);
  header.set(
    Uint8Array.fromHex("0bb10bb1210000700000000002000000" + "7a20000000000000" + "2000000000000000".repeat(2)),
  );
  header.set(Uint8Array.fromHex("0bb10bb1"), 4092);
  const blob: BlobDescriptor = {
    index: 0,
    id: "be7d77ee",
    compressor: "zstd",
    digester: "blake3",
    chunkSize: 1 << 20,
    chunkCount: 2,
    features: 0x7000_0021,
    compressedSize: 0x38da,
    uncompressedSize: 0x9000,
    meta: { compressor: "none", offset: 0x207a, compressedSize: 0x20, uncompressedSize: 0x20 },
  };
  const columns = parseBlobMeta(blob, ci, header);
  assert.deepEqual([...columns.uncompressedOffset], [0, 0x5000]);
  assert.deepEqual([...columns.uncompressedSize], [16931, 13400]);
  assert.deepEqual([...columns.compressedOffset], [0, 4828]);
  assert.deepEqual([...columns.compressedSize], [4828, 2974]);
  assert.deepEqual([...columns.flags], [CHUNK_FLAG.compressed, CHUNK_FLAG.compressed]);
  const writer = new ChunkInfoWriter(1);
  writer.add({ size: 16931, compressedOffset: 0, compressedSize: 4828 });
  writer.add({ size: 13400, compressedOffset: 4828, compressedSize: 2974 });
  assert.deepEqual(writer.toBytes(), ci);
  assert.deepEqual(blob.meta && writer.header(blob.meta, blob.features), header);
});

Deno.test("the compression info of a blob table is limited by the blob's address space", () => {
  const blob = (chunkCount: number, features: number): BlobDescriptor => ({
    index: 0,
    id: "b",
    compressor: "zstd",
    digester: "blake3",
    chunkSize: 1 << 20,
    chunkCount,
    features: 0x4000_0001 | features,
    compressedSize: 1 << 20,
    uncompressedSize: 0x9000,
    meta: undefined,
  });
  const check = (chunkCount: number, features: number, uncompressedSize: number) => () => {
    const meta = { compressor: "zstd", offset: 0x2000, compressedSize: 16, uncompressedSize } as const;
    checkMetaSizes(blob(chunkCount, features), meta, "blob", 7);
  };
  const { chunkDictGenerated } = BLOB_FEATURE;
  check(9, 0, 9 * 16)();
  check(2, chunkDictGenerated, 9 * 16)();
  assert.throws(check(10, 0, 10 * 16), /at 7: 10 chunks do not fit the address space of 36864 bytes$/);
  assert.throws(check(2, 0, 3 * 16), /compression info has 48 bytes, 2 chunks need 32$/);
  assert.throws(check(2, chunkDictGenerated, 10 * 16), /compression info has 160 bytes, 2 chunks need 32$/);
});

Deno.test("a batch may be larger than a chunk, as long as a chunk may be that large", () => {
  const parse = (plainBytes: number) => {
    const writer = new ChunkInfoWriter(2);
    writer.addToBatch({ size: 4096, compressedOffset: 0, batchOffset: 0 });
    writer.addToBatch({ size: 4096, compressedOffset: 0, batchOffset: 4096 });
    writer.closeBatch(100, plainBytes);
    const { blob, ci, header } = describe(writer, 100);
    return parseBlobMeta({ ...blob, chunkSize: 4096 }, ci, header);
  };
  assert.deepEqual([...parse(8192).batchUncompressedSize], [8192]);
  assert.throws(() => parse(2 ** 24 + 1), /16777217 bytes are stored in 100, expected at most 16777216 in 16777217/);
});

/** Three chunks, two of which share a batch. */
function batched(): { blob: BlobDescriptor; ci: Uint8Array; header: Uint8Array; places: PlacedChunk[] } {
  const writer = new ChunkInfoWriter(2);
  const places = [
    writer.add({ size: 5000, compressedOffset: 0, compressedSize: 100, crc32: 7 }),
    writer.addToBatch({ size: 10, compressedOffset: 100, batchOffset: 0 }),
    writer.addToBatch({ size: 20, compressedOffset: 100, batchOffset: 10 }),
  ];
  writer.closeBatch(25, 30);
  return { ...describe(writer, 125), places };
}

Deno.test("the members of a batch have its place in the blob", () => {
  const { blob, ci, header, places } = batched();
  const columns = parseBlobMeta(blob, ci, header);
  assert.deepEqual(places.map((place) => place.uncompressedOffset), [0, 8192, 12288]);
  assert.deepEqual([...columns.batch], [NO_BATCH, 0, 0]);
  assert.deepEqual([...columns.batchOffset], [0, 0, 10]);
  assert.deepEqual([...columns.compressedOffset], [0, 100, 100]);
  assert.deepEqual([...columns.compressedSize], [100, 25, 25]);
  assert.deepEqual([...columns.batchUncompressedSize], [30]);
  assert.equal(columns.flags[1], CHUNK_FLAG.batch | CHUNK_FLAG.compressed);
});

Deno.test("chunk tables that could corrupt the cache are refused", () => {
  const { blob, ci, header } = batched();
  const changed = (at: number, value: number) => {
    const copy = ci.slice();
    new DataView(copy.buffer).setUint32(at, value, true);
    return () => parseBlobMeta(blob, copy, header);
  };
  assert.throws(changed(24, 1), /chunk 1 is at 4096, the previous chunk ends at 5000/);
  assert.throws(changed(48, 2), /chunk 2 is at 8192, the previous chunk ends at 8202/);
  assert.throws(changed(48, 4), /chunk 2 ends at 16404, the address space at 16384/);
  assert.throws(changed(8, 26), /chunk 0 has 100 stored bytes at 26, chunk data end at 125/);
  assert.throws(changed(4, 5000 - 1), /chunk 0 of 5000 bytes is stored in 100 bytes, but not compressed/);
  assert.throws(changed(48 + 16, 11), /it ends beyond the 30 bytes of batch 0/);
  assert.throws(changed(48 + 20, 1), /batch is 1, the blob has 1/);
  assert.throws(changed(48 + 8, 101), /it is stored at 101, other members of batch 0 at 100/);
  assert.throws(changed(72, 31), /30 bytes are stored in 31, expected at most 16777216 in 30/);
  assert.throws(
    () => parseBlobMeta({ ...blob, chunkSize: 4096 }, ci, header),
    /chunk 0 has 5000 bytes, chunk size is 4096/,
  );
  assert.throws(() => parseBlobMeta({ ...blob, chunkCount: 2 }, ci, header), /number of chunks is 3, expected 2/);
  assert.throws(() => parseBlobMeta({ ...blob, features: 0x4000_0005 }, ci, header), /shape is 132, expected 4/);
  assert.throws(() => parseBlobMeta(blob, ci.subarray(1), header), /compression info has 111 bytes, expected 112/);
});

Deno.test("damaged compression info yields a RafsError or a table without overlaps", () => {
  const { blob, ci, header } = batched();
  const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 5 });
  const check = (ci: Uint8Array, header: Uint8Array) => {
    try {
      const columns = parseBlobMeta(blob, ci, header);
      let free = 0;
      for (let i = 0; i < columns.count; i++) {
        assert.ok((columns.uncompressedOffset[i] ?? -1) >= free);
        free = (columns.uncompressedOffset[i] ?? 0) + (columns.uncompressedSize[i] ?? 0);
      }
      assert.ok(free <= blob.uncompressedSize);
    } catch (error) {
      if (!(error instanceof RafsError)) throw error;
    }
  };
  fc.assert(
    fc.property(flips, fc.boolean(), (changes, inHeader) => {
      const copies = [ci.slice(), header.slice()] as const;
      const target = copies[inHeader ? 1 : 0];
      for (const [at, mask] of changes) {
        const place = at % Math.min(64, target.length);
        target[place] = (target[place] ?? 0) ^ mask;
      }
      check(...copies);
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: ci.length, maxLength: ci.length }), (bytes) => check(bytes, header)),
  );
});

Deno.test("the cached form of the compression info is padded to blocks", () => {
  const { blob, ci, header } = batched();
  const image = cacheBlobMetaImage(ci, header);
  assert.equal(image.length, 8192);
  const split = splitCacheBlobMeta(blob, image);
  assert.deepEqual([split.ci, split.header], [ci, header]);
  assert.deepEqual(cacheSizes(blob, parseBlobMeta(blob, ci, header)), { data: 16384, chunkMap: 4097, meta: 8192 });
  assert.throws(() => splitCacheBlobMeta(blob, image.subarray(1)), RafsError);
});

Deno.test("fetched bytes are split into compression info and header", () => {
  const { blob, ci, header } = batched();
  const meta = blob.meta ?? assert.fail();
  assert.deepEqual(blobMetaRange(meta), { offset: 125, length: ci.length + 4096 });
  const fetched = new Uint8Array([...ci, ...header]);
  assert.deepEqual(splitBlobMeta(fetched, meta), { ci, header });
  assert.throws(() => splitBlobMeta(fetched.subarray(1), meta), /Cannot read blob meta at 125/);
});

const digest = (seed: number) => new Uint8Array(32).fill(seed);
const record = (chunkIndex: number, change: Partial<ChunkRecord> = {}): ChunkRecord => ({
  blobIndex: 0,
  chunkIndex,
  digest: digest(chunkIndex + 1),
  flags: CHUNK_FLAG.compressed,
  compressedOffset: chunkIndex * 50,
  compressedSize: 50,
  uncompressedOffset: chunkIndex * 100,
  uncompressedSize: 100,
  crc32: 0,
  ...change,
});
const v5Blob: BlobDescriptor = {
  index: 0,
  id: "b",
  compressor: "zstd",
  digester: "blake3",
  chunkSize: 4096,
  chunkCount: 3,
  features: 0,
  compressedSize: 150,
  uncompressedSize: 300,
  meta: undefined,
};

Deno.test("the records of all files form one chunk table, in any order, with duplicates", () => {
  const columns = chunkColumnsFromRecords(v5Blob, [record(2), record(0), record(2), record(5, { blobIndex: 1 })]);
  assert.deepEqual([...columns.uncompressedOffset], [0, 0, 200]);
  assert.deepEqual([...columns.uncompressedSize], [100, 0, 100]);
  assert.deepEqual([...columns.digests.subarray(64)], [...digest(3)]);
  assert.ok(columns.digests.subarray(32, 64).every((byte) => byte === 0));
});

Deno.test("counts and sizes that an old image lacks are derived from the records", () => {
  const old = { ...v5Blob, chunkCount: 0, compressedSize: 0, uncompressedSize: 0 };
  const columns = chunkColumnsFromRecords(old, [record(1), record(0)]);
  assert.equal(columns.count, 2);
  assert.deepEqual(cacheSizes(old, columns), { data: 200, chunkMap: 4097, meta: undefined });
});

Deno.test("records that contradict each other or overlap are refused", () => {
  const refused = (records: ChunkRecord[], message: RegExp) =>
    assert.throws(() => chunkColumnsFromRecords(v5Blob, records), message);
  refused([record(0), record(0, { digest: digest(9) })], /two files describe it differently/);
  refused([record(0), record(0, { compressedOffset: 1 })], /two files describe it differently/);
  refused([record(0), record(1, { uncompressedOffset: 99 })], /it is at 99, another chunk ends at 100/);
  refused([record(0), record(1, { uncompressedOffset: 0 })], /it is at 0, another chunk ends at 100/);
  refused([record(3)], /blob b has 3 chunks/);
  refused([record(2, { uncompressedOffset: 201 })], /it ends beyond the address space of 300 bytes/);
  refused([record(2, { compressedOffset: 101 })], /stored bytes end beyond the blob of 150 bytes/);
  refused([record(2, { flags: 0 })], /100 bytes are stored in 50/);
});

Deno.test("digests of both sources are applied and must agree", () => {
  const fresh = () => {
    const columns = chunkColumnsFromRecords(v5Blob, [record(0), record(1), record(2)]);
    columns.digests.fill(0);
    return columns;
  };
  const columns = fresh();
  assert.equal(applyDigests(columns, 0, [record(1), record(1), record(0, { blobIndex: 7 })]), 1);
  const all = new Uint8Array([...digest(1), ...digest(2), ...digest(3)]);
  assert.equal(applyDigestArray(columns, all), 3);
  assert.equal(applyDigestArray(columns, new Uint8Array(96)), 3);
  assert.throws(() => applyDigests(columns, 0, [record(1, { digest: digest(8) })]), /two different digests/);
  assert.throws(
    () => applyDigests(fresh(), 0, [record(1, { uncompressedOffset: 0 })]),
    /100 bytes at 0, the blob has 100 at 100/,
  );
  assert.throws(() => applyDigests(fresh(), 0, [record(4)]), /blob 0 has 3 chunks/);
  assert.throws(() => applyDigestArray(columns, new Uint8Array(96).fill(4)), /chunk 0 has another digest/);
  assert.throws(() => applyDigestArray(columns, new Uint8Array(64)), /64 bytes for 3 chunks/);
});
