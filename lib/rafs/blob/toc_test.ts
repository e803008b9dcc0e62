import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import {
  codecs,
  listRafsFixtures,
  MemoryBlob,
  RAFS_FIXTURES,
  rangesOf,
  readFixtureBootstrap,
} from "../../../tests/support/rafs/rafs_fixtures.ts";
import { concatenate } from "../../base/bytes.ts";
import { type BlobDescriptor, RafsError } from "../bootstrap.ts";
import { BlobTail, makeTrailer, type TailCodecs } from "./blob_writer.ts";
import { ChunkInfoTable } from "../memory/chunk_info_table.ts";
import { ChunkInfoWriter } from "./chunk_info_writer.ts";
import { CHUNK_FLAG } from "../bootstrap.ts";
import { NO_BATCH } from "./chunk_table.ts";
import { BLOB_FEATURE, has } from "../format/flags.ts";
import { openBootstrap } from "../open.ts";
import { extractBootstrap, locateBootstrap, parseToc, parseTrailer, readToc, SECTION, walkSections } from "./toc.ts";
import { BootstrapWriter } from "../v6/writer.ts";

const sha256 = (...parts: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

async function fixtureBlob(name: string): Promise<{ blob: BlobDescriptor; bytes: Uint8Array; opened: MemoryBlob }> {
  const fixture = listRafsFixtures().find((candidate) => candidate.name === name) ?? assert.fail(name);
  const bootstrap = openBootstrap(await readFixtureBootstrap(fixture));
  const blob = bootstrap.blobs[0] ?? assert.fail();
  const bytes = await Deno.readFile(join(RAFS_FIXTURES, "blobs", fixture.container ?? blob.id));
  return { blob, bytes, opened: MemoryBlob.open(bootstrap, blob, bytes) };
}

Deno.test("the sections of a blob are read backwards from its end", async () => {
  const { bytes } = await fixtureBlob("v6-inline-toc");
  const names: string[] = [];
  for await (const section of walkSections(rangesOf(bytes), bytes.length)) names.push(section.name);
  assert.deepEqual(names, [SECTION.toc, SECTION.bootstrap, SECTION.digest, SECTION.meta, SECTION.blob]);
});

Deno.test("a bootstrap is located by the ToC, by its trailer, or not at all", async () => {
  const located = async (name: string) => {
    const { bytes } = await fixtureBlob(name);
    const found = await locateBootstrap(rangesOf(bytes), bytes.length);
    return found && { ...found, digest: found.digest !== undefined };
  };
  assert.deepEqual(await located("v6-inline-toc"), {
    name: SECTION.bootstrap,
    offset: 119417,
    size: 5705,
    compressor: "zstd",
    uncompressedSize: 32768,
    digest: true,
  });
  assert.deepEqual(await located("v6-inline"), {
    name: SECTION.bootstrap,
    offset: 116633,
    size: 32768,
    compressor: "none",
    uncompressedSize: 32768,
    digest: false,
  });
  assert.equal(await located("v6-zstd-toc"), undefined);
  assert.equal(await located("v6-none-sha256-4k"), undefined);
});

Deno.test("a bootstrap that does not match its digest is refused", async () => {
  const { bytes } = await fixtureBlob("v6-inline-toc");
  const damaged = { ...codecs, sha256: () => new Uint8Array(32).fill(1) };
  await assert.rejects(
    extractBootstrap(rangesOf(bytes), bytes.length, damaged),
    /Cannot read inlined bootstrap at 119417: sha256 is 0101.+, expected /,
  );
});

/** Rebuilds the end of a blob from its chunk table. */
function rebuild(blob: BlobDescriptor, bytes: Uint8Array, opened: MemoryBlob, digests: boolean): BlobTail {
  const { columns } = opened;
  const meta = blob.meta ?? assert.fail();
  const chunks = new ChunkInfoWriter(has(blob.features, BLOB_FEATURE.chunkInfoV2) ? 2 : 1);
  const closed = new Set<number>();
  for (let i = 0; i < columns.count; i++) {
    const batch = columns.batch[i] as number;
    const size = columns.uncompressedSize[i] as number;
    const compressedOffset = columns.compressedOffset[i] as number;
    const compressedSize = columns.compressedSize[i] as number;
    if (batch === NO_BATCH) {
      chunks.add({ size, compressedOffset, compressedSize, crc32: columns.crc32[i] as number });
      continue;
    }
    chunks.addToBatch({ size, compressedOffset, batchOffset: columns.batchOffset[i] as number });
    const last = i + 1 === columns.count || !columns.batch.subarray(i + 1).includes(batch);
    if (last && !closed.has(batch)) {
      closed.add(batch);
      chunks.closeBatch(compressedSize, columns.batchUncompressedSize[batch] as number);
    }
  }
  const trailers = has(blob.features, BLOB_FEATURE.hasTarHeader);
  const dataSize = meta.offset - (trailers ? 512 : 0);
  const tailCodecs: TailCodecs = {
    compressor: meta.compressor,
    compress: () => bytes.subarray(meta.offset, meta.offset + meta.compressedSize),
    zstd: (plain) => new Uint8Array(zstdCompressSync(plain)),
    sha256,
  };
  const tail = new BlobTail({
    dataSize,
    chunks,
    trailers,
    toc: has(blob.features, BLOB_FEATURE.hasToc),
    codecs: tailCodecs,
    dataDigest: (trailer) => sha256(bytes.subarray(0, dataSize), trailer),
  });
  tail.addMeta(digests ? BLOB_FEATURE.inlinedChunkDigest : 0);
  if (digests) tail.addDigests(columns.digests.slice());
  return tail;
}

for (
  const [name, digests] of [["v6-none-sha256-4k", false], ["v6-zstd-toc", true], ["v6-lz4-toc-sha256", true]] as const
) {
  Deno.test(`the end of the blob of ${name} is written identically to its builder`, async () => {
    const { blob, bytes, opened } = await fixtureBlob(name);
    const tail = rebuild(blob, bytes, opened, digests);
    tail.finish();
    const written = concatenate(tail.pieces.map((piece) => piece.bytes));
    const { chunkCount, features, compressedSize, uncompressedSize, meta, tocSize } = tail.describe();
    assert.deepEqual(written, bytes.slice(bytes.length - written.length));
    assert.deepEqual(
      { chunkCount, features, compressedSize, uncompressedSize, meta },
      {
        chunkCount: blob.chunkCount,
        features: blob.features,
        compressedSize: bytes.length,
        uncompressedSize: blob.uncompressedSize,
        meta: blob.meta,
      },
    );
    assert.equal(tocSize, digests ? 5 * 128 + 512 - 128 : 0);
    const id = sha256(
      bytes.subarray(0, bytes.length - written.length),
      ...tail.pieces.filter((piece) => piece.inId).map((piece) => piece.bytes),
    );
    assert.equal(id.toHex(), blob.id);
  });
}

Deno.test("the compression info of a blob with batches is written identically to its builder", async () => {
  const { blob, bytes, opened } = await fixtureBlob("v6-zstd-batch");
  const [ci, header] = rebuild(blob, bytes, opened, false).pieces;
  assert.deepEqual(
    concatenate([ci?.bytes ?? assert.fail(), header?.bytes ?? assert.fail()]),
    bytes.slice(blob.meta?.offset),
  );
});

Deno.test("a whole blob with its bootstrap inside is read back", async () => {
  const files = new Map([["a", 10], ["b", 5000], ["c", 70_000]].map(([name, size]) => [
    String(name),
    Uint8Array.from({ length: Number(size) }, (_, i) => (i * 7 + Number(size)) & (i & 0xff)),
  ]));
  const chunkSize = 0x10000;
  const chunks = new ChunkInfoWriter(2);
  const writer = new BootstrapWriter({ chunkSize, compressor: "zstd", digester: "sha256" });
  const owner = { uid: 0, gid: 0, mtime: 1, mtimeNsec: 2 };
  const root = writer.addInode({ ...owner, mode: 0o040755 });
  const records = new ChunkInfoTable();
  writer.addChunks(records);
  const data: Uint8Array[] = [];
  const digests: Uint8Array[] = [];
  let at = 0;
  for (const [name, content] of files) {
    const places = [];
    for (let from = 0; from < content.length; from += chunkSize) {
      const plain = content.subarray(from, from + chunkSize);
      const packed = new Uint8Array(zstdCompressSync(plain));
      const stored = packed.length < plain.length ? packed : plain;
      const place = chunks.add({ size: plain.length, compressedOffset: at, compressedSize: stored.length });
      const digest = sha256(plain);
      records.push({
        blobIndex: 0,
        chunkIndex: place.index,
        digest,
        flags: stored === packed ? CHUNK_FLAG.compressed : 0,
        compressedOffset: at,
        compressedSize: stored.length,
        uncompressedOffset: place.uncompressedOffset,
        uncompressedSize: plain.length,
        crc32: 0,
      });
      places.push({ blobIndex: 0, chunkIndex: place.index, uncompressedOffset: place.uncompressedOffset });
      data.push(stored);
      digests.push(digest);
      at += stored.length;
    }
    const file = writer.addInode({ ...owner, mode: 0o100644, size: content.length, chunks: places });
    writer.addEntry(root, new TextEncoder().encode(name), file);
  }
  const tail = new BlobTail({
    dataSize: at,
    chunks,
    trailers: true,
    toc: true,
    codecs: {
      compressor: "zstd",
      compress: (plain) => new Uint8Array(zstdCompressSync(plain)),
      zstd: (plain) => new Uint8Array(zstdCompressSync(plain)),
      sha256,
    },
    dataDigest: (trailer) => sha256(...data, trailer),
  });
  tail.addMeta(BLOB_FEATURE.inlinedFsMeta | BLOB_FEATURE.inlinedChunkDigest);
  tail.addDigests(concatenate(digests));
  const entry = { index: 0, id: "x".repeat(64), compressor: "zstd", digester: "sha256", chunkSize } as const;
  tail.addBootstrap(writer.finish([{ ...entry, ...tail.describe() }]));
  tail.finish();
  const bytes = concatenate([...data, ...tail.pieces.map((piece) => piece.bytes)]);

  const bootstrap = openBootstrap(await extractBootstrap(rangesOf(bytes), bytes.length, codecs) ?? assert.fail());
  const blob = MemoryBlob.open(bootstrap, bootstrap.blobs[0] ?? assert.fail(), bytes);
  assert.equal(blob.knownDigests, chunks.count);
  for (const [name, content] of files) {
    const ino = bootstrap.lookup(bootstrap.rootIno, new TextEncoder().encode(name));
    const parts = await Promise.all(
      bootstrap.extents(ino, 0, content.length).map((extent) => blob.chunk(extent.chunkIndex)),
    );
    assert.deepEqual(concatenate(parts), content);
  }
  const toc = await readToc(rangesOf(bytes), bytes.length);
  assert.deepEqual(toc?.map((part) => part.name), [
    SECTION.blob,
    SECTION.meta,
    SECTION.metaHeader,
    SECTION.digest,
    SECTION.bootstrap,
  ]);
});

Deno.test("a trailer is read back as it was written", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z.]{1,99}$/), fc.nat({ max: 0o77777777777 }), (name, size) => {
      const offset = 1000;
      assert.deepEqual(parseTrailer(makeTrailer(name, size), size + offset), { name, size, offset });
    }),
  );
});

Deno.test("a trailer that reaches before the blob is refused, and any other bytes end the search", () => {
  assert.throws(() => parseTrailer(makeTrailer("image.boot", 2000), 1999), /the section before it has 2000 bytes/);
  assert.equal(parseTrailer(new Uint8Array(512), 0), undefined);
  const flipped = makeTrailer("image.boot", 2000);
  flipped[0] = 0x40;
  assert.equal(parseTrailer(flipped, 4000), undefined);
});

Deno.test("arbitrary ends of blobs yield an error or a result", async () => {
  const trailer = fc.tuple(fc.constantFrom<string>(...Object.values(SECTION)), fc.nat({ max: 3000 }))
    .map(([name, size]) => makeTrailer(name, size));
  const part = fc.oneof(trailer, fc.uint8Array({ maxLength: 600 }), fc.constant(new Uint8Array(512)));
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
      const bytes = concatenate(parts);
      try {
        await extractBootstrap(rangesOf(bytes), bytes.length, codecs);
      } catch (error) {
        if (!(error instanceof RafsError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("damaged ToC entries yield an error or entries inside the blob", async () => {
  const { bytes } = await fixtureBlob("v6-zstd-toc");
  const entries = bytes.slice(-1024, -512);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 511 }), fc.nat({ max: 255 })), { maxLength: 4 }), (changes) => {
      const copy = entries.slice();
      for (const [at, value] of changes) copy[at] = value;
      try {
        for (const { name, offset, size } of parseToc(copy, bytes.length)) {
          assert.ok(name === SECTION.blob || offset + size <= bytes.length);
        }
      } catch (error) {
        if (!(error instanceof RafsError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});
