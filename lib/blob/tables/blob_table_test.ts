/**
 * Where a v6 blob's chunk table and digests come from, and which sources are trusted.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { listRafsFixtures, MemoryBlob, readFixtureBootstrap } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { ScriptedSource } from "../../../tests/support/blob/scripted_source.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode, NydusGdError } from "../../base/errors.ts";
import { type BlobDescriptor, type BlobMetaLocation, type Bootstrap, type ChunkRecord } from "../../rafs/bootstrap.ts";
import { blobMetaRange } from "../../rafs/blob/blob_meta.ts";
import { openBootstrap } from "../../rafs/open.ts";
import { BlobCache } from "../blob_cache.ts";
import { blobPaths } from "../cache/blob_paths.ts";

interface Image {
  readonly bootstrap: Bootstrap;
  readonly descriptor: BlobDescriptor & { readonly meta: BlobMetaLocation };
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly records: () => Iterable<Readonly<ChunkRecord>>;
}

async function load(name: string): Promise<Image> {
  const fixture = listRafsFixtures().find((each) => each.name === name);
  assert.ok(fixture !== undefined);
  const bootstrap = openBootstrap(await readFixtureBootstrap(fixture));
  const [blob] = bootstrap.blobs;
  assert.ok(blob?.meta !== undefined);
  const bytes = await Deno.readFile(join(fixture.directory, "blobs", blob.id));
  return { bootstrap, descriptor: { ...blob, meta: blob.meta }, bytes, records: () => bootstrap.chunkRecords() };
}

const whole = ({ descriptor }: Image) => [0, descriptor.uncompressedSize] as const;

/** Opens and reads the whole blob; returns how often its compression info was fetched. */
async function readWhole(dir: string, image: Image, embeddedMeta?: Uint8Array): Promise<number> {
  await using cache = BlobCache.open(dir, QUIET);
  const source = new ScriptedSource(image.bytes);
  const { descriptor, records } = image;
  const blob = cache.acquire({ descriptor, source, records, ...(embeddedMeta === undefined ? {} : { embeddedMeta }) });
  await blob.ensure(...whole(image), "on-demand");
  assert.equal(blob.stats().chunksReady, blob.stats().chunks);
  return source.reads.filter(({ offset }) => offset === descriptor.meta.offset).length;
}

Deno.test("compression info is fetched once and kept in nydusd's format", async () => {
  const image = await load("v6-prefetch-fs");
  using dir = TempDir.make();
  assert.equal(await readWhole(dir.path, image), 1);
  const { meta } = blobPaths(dir.path, image.descriptor.id);
  const kept = Deno.readFileSync(meta);
  assert.equal(kept.length, Math.ceil(image.descriptor.meta.uncompressedSize / 4096) * 4096 + 4096);
  assert.equal(await readWhole(dir.path, image), 0);
});

Deno.test("a kept table that is damaged is fetched again", async () => {
  const image = await load("v6-prefetch-fs");
  for (const damage of [(bytes: Uint8Array) => bytes.subarray(1), (bytes: Uint8Array) => bytes.fill(0xff, 0, 64)]) {
    using dir = TempDir.make();
    await readWhole(dir.path, image);
    const { meta } = blobPaths(dir.path, image.descriptor.id);
    Deno.writeFileSync(meta, damage(Deno.readFileSync(meta)));
    assert.equal(await readWhole(dir.path, image), 1);
    assert.equal(await readWhole(dir.path, image), 0);
  }
});

Deno.test("a link, folder or foreign file in place of a kept table is neither read nor written", async () => {
  const image = await load("v6-prefetch-fs");
  using elsewhere = TempDir.make();
  Deno.writeTextFileSync(elsewhere.join("file"), "kept");
  const inPlace: ((path: string) => void)[] = [
    (path) => Deno.symlinkSync("/dev/zero", path),
    (path) => Deno.symlinkSync(elsewhere.join("file"), path),
    (path) => Deno.symlinkSync(elsewhere.join("file"), `${path}.tmp`),
    (path) => Deno.mkdirSync(path),
    (path) => {
      Deno.writeFileSync(path, new Uint8Array());
      Deno.truncateSync(path, 2 ** 40);
    },
  ];
  for (const make of inPlace) {
    using dir = TempDir.make();
    make(blobPaths(dir.path, image.descriptor.id).meta);
    assert.equal(await readWhole(dir.path, image), 1);
    assert.equal(Deno.readTextFileSync(elsewhere.join("file")), "kept");
  }
});

Deno.test("a table that came with the image is used in either form, and an invalid one is ignored", async () => {
  const image = await load("v6-prefetch-fs");
  const { offset, length } = blobMetaRange(image.descriptor.meta);
  using first = TempDir.make();
  assert.equal(await readWhole(first.path, image, image.bytes.subarray(offset, offset + length)), 0);
  using second = TempDir.make();
  const kept = Deno.readFileSync(blobPaths(first.path, image.descriptor.id).meta);
  assert.equal(await readWhole(second.path, image, kept), 0);
  using third = TempDir.make();
  assert.equal(await readWhole(third.path, image, new Uint8Array(123)), 1);
});

Deno.test("a fetched table that contradicts the bootstrap is an error, and fetched again by the next call", async () => {
  const image = await load("v6-prefetch-fs");
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(image.bytes);
  source.script = (_read, bytes) => bytes.fill(0, bytes.length - 4096);
  const blob = cache.acquire({ descriptor: image.descriptor, source, records: image.records });
  await assert.rejects(blob.ensure(...whole(image), "on-demand"), (error) => hasCode(error, "invalid-image"));
  source.script = () => undefined;
  await blob.ensure(...whole(image), "on-demand");
});

Deno.test("a table that leads to corrupt chunks is set aside", async () => {
  const image = await load("v6-prefetch-fs");
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(image.bytes);
  const blob = cache.acquire({ descriptor: image.descriptor, source, records: image.records });
  await blob.open();
  source.script = (_read, bytes) => bytes.fill(0);
  await assert.rejects(blob.ensure(0, 1, "on-demand"), (error) => hasCode(error, "corrupt"));
  await cache.close();
  const { meta, doubtfulMeta } = blobPaths(dir.path, image.descriptor.id);
  assert.throws(() => Deno.statSync(meta), Deno.errors.NotFound);
  assert.ok(Deno.statSync(doubtfulMeta).isFile);
  assert.equal(await readWhole(dir.path, image), 1);
  assert.throws(() => Deno.statSync(doubtfulMeta), Deno.errors.NotFound);
});

Deno.test("digests are read from the blob where the bootstrap has none", async () => {
  const image = await load("v6-lz4-toc-sha256");
  using dir = TempDir.make();
  await readWhole(dir.path, { ...image, records: () => [] });
});

Deno.test("without any digest nothing is readable", async () => {
  const image = await load("v6-prefetch-fs");
  using dir = TempDir.make();
  await assert.rejects(
    readWhole(dir.path, { ...image, records: () => [] }),
    /Cannot read chunk 0 of blob .*: the image has no digest of it/,
  );
});

Deno.test("a second image adds digests to an open blob; a contradicting one is kept separate", async () => {
  const image = await load("v6-prefetch-fs");
  const records = Array.from(image.records(), (record) => ({ ...record, digest: record.digest.slice() }));
  const some = (want: (chunk: number) => boolean) => records.filter(({ chunkIndex }) => want(chunkIndex));
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(image.bytes);
  const open = (of: readonly ChunkRecord[]) =>
    cache.acquire({ descriptor: image.descriptor, source, records: () => of });
  const first = open(some((chunk) => chunk % 2 === 0));
  const { chunks } = await first.open();
  const at = chunks.uncompressedOffset[1] as number;
  await assert.rejects(first.ensure(at, 1, "on-demand"), (error) => hasCode(error, "invalid-image"));
  const contradicting = some((chunk) => chunk < 3).map((record) =>
    record.chunkIndex === 2 ? { ...record, digest: new Uint8Array(32).fill(9) } : record
  );
  const contradictingBlob = open(contradicting);
  assert.notEqual((await contradictingBlob.open()).path, (await first.open()).path);
  await assert.rejects(
    contradictingBlob.ensure(chunks.uncompressedOffset[2] as number, 1, "on-demand"),
    /expected 0909/,
  );
  await assert.rejects(first.ensure(at, 1, "on-demand"), (error) => hasCode(error, "invalid-image"));
  await open(some((chunk) => chunk % 2 === 1)).open();
  await first.ensure(...whole(image), "on-demand");
});

Deno.test("a batch is fetched once and fills all its members", async () => {
  const image = await load("v6-zstd-batch");
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(image.bytes);
  const blob = cache.acquire({ descriptor: image.descriptor, source, records: image.records });
  const { chunks, ready } = await blob.open();
  const { columns: table } = MemoryBlob.open(image.bootstrap, image.descriptor, image.bytes);
  const batches = Array.from(
    table.batchUncompressedSize.keys(),
    (batch) => Array.from(table.batch.keys()).filter((row) => table.batch[row] === batch),
  );
  const members = batches.find((rows) => rows.length > 2) ?? [];
  assert.ok(members.length > 2);
  source.reads.length = 0;
  await Promise.all(
    members.slice(0, 2).map((row) => blob.ensure(chunks.uncompressedOffset[row] as number, 1, "on-demand")),
  );
  assert.equal(source.reads.length, 1);
  assert.equal(source.reads[0]?.length, table.compressedSize[members[0] as number]);
  for (const row of members) assert.ok(((ready[row >> 3] as number) & (0x80 >> (row & 7))) !== 0);
});

Deno.test("an unreachable blob is reported as such, and opens once it is reachable", async () => {
  const image = await load("v6-prefetch-fs");
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(image.bytes);
  source.script = () => new NydusGdError("unavailable", "Cannot read blob: registry is down");
  const blob = cache.acquire({ descriptor: image.descriptor, source, records: image.records });
  await assert.rejects(blob.open(), (error) => hasCode(error, "unavailable"));
  source.script = () => undefined;
  await blob.open();
  assert.equal(blob.stats().failedRequests, 1);
});

Deno.test("a tar that does not match its digest is read twice, not once per reader", async () => {
  const fixture = listRafsFixtures().find(({ name }) => name === "v6-tarfs") ?? assert.fail();
  const tree = openBootstrap(await readFixtureBootstrap(fixture));
  const [descriptor] = tree.blobs;
  assert.ok(descriptor !== undefined);
  const bytes = await Deno.readFile(join(fixture.directory, "blobs", descriptor.id));
  bytes[5000] = (bytes[5000] as number) ^ 1;
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(bytes);
  const blob = cache.acquire({ descriptor, source, records: () => tree.chunkRecords() });
  for (const offset of [0, 4096, 8192, 12288]) {
    await assert.rejects(blob.ensure(offset, 1, "on-demand"), (error) => hasCode(error, "corrupt"));
  }
  assert.equal(source.bytesRead, 2 * bytes.length);
});

Deno.test("a table that is damaged in its blob is named by the blob, wherever the damage is", async () => {
  const image = await load("v6-prefetch-fs");
  const { id, meta: { offset, compressedSize } } = image.descriptor;
  for (const damaged of [offset, offset + compressedSize]) { // the compressed entries, and the header after them
    using dir = TempDir.make();
    await using cache = BlobCache.open(dir.path, QUIET);
    const source = new ScriptedSource(image.bytes.with(damaged, 0));
    const blob = cache.acquire({ descriptor: image.descriptor, source, records: image.records });
    await assert.rejects(
      blob.ensure(0, 1, "on-demand"),
      (error) => error instanceof Error && error.message.startsWith(`Cannot read chunk table of blob ${id}: Cannot `),
    );
  }
});

Deno.test("a table that contradicts the image is fetched twice, not once per reader", async () => {
  const image = await load("v6-prefetch-fs");
  const records = Array.from(image.records(), (record) => ({ ...record, uncompressedOffset: 4096 * 1000 }));
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(image.bytes);
  const blob = cache.acquire({ descriptor: image.descriptor, source, records: () => records });
  for (const offset of [0, 4096, 8192, 12288]) {
    await assert.rejects(blob.ensure(offset, 1, "on-demand"), (error) => hasCode(error, "invalid-image"));
  }
  assert.equal(source.reads.length, 2);
});
