/**
 * Images that describe one blob in different ways: each is served from files of its own, concurrently and after a
 * restart.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { acquire, assertCached, ensureRows, QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { ScriptedSource } from "../../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import type { ChunkRecord } from "../../rafs/bootstrap.ts";
import type { Blob } from "../blob.ts";
import { BlobCache } from "../blob_cache.ts";
import { BlobNames, isBlobName, ownerOf } from "./blob_names.ts";
import { takeInventory } from "./cache_inventory.ts";

const BLOCK = 4096, BLOCKS = 12;
const PART = "[0-9a-f]{32}";

/** A blob of whole blocks, stored uncompressed, one chunk each. */
const inBlocks = () => makeSyntheticBlob({ sizes: Array<number>(BLOCKS).fill(BLOCK) });

/** The same bytes in chunks of `blocks` blocks. */
function cut(blob: SyntheticBlob, blocks: number): SyntheticBlob {
  const chunkBytes = blocks * BLOCK;
  const plain = Array.from(
    { length: BLOCKS / blocks },
    (_, k) => blob.bytes.slice(k * chunkBytes, (k + 1) * chunkBytes),
  );
  const records = plain.map((bytes, chunkIndex): ChunkRecord => ({
    blobIndex: 0,
    chunkIndex,
    digest: new Uint8Array(createHash("sha256").update(bytes).digest()),
    flags: 0,
    compressedOffset: chunkIndex * chunkBytes,
    compressedSize: chunkBytes,
    uncompressedOffset: chunkIndex * chunkBytes,
    uncompressedSize: chunkBytes,
    crc32: 0,
  }));
  return { ...blob, descriptor: { ...blob.descriptor, chunkCount: records.length }, records, plain };
}

/** An image with two chunks of the blob swapped. */
function swapped(blob: SyntheticBlob, a: number, b: number): SyntheticBlob {
  const records = blob.records.map((record, row) => {
    const other = blob.records[row === a ? b : row === b ? a : row] ?? record;
    return { ...record, uncompressedOffset: other.uncompressedOffset };
  });
  return { ...blob, records };
}

async function readAll(blob: Blob, described: SyntheticBlob): Promise<void> {
  await ensureRows(blob, described, [0, described.records.length - 1]);
  for (const row of described.records.keys()) await assertCached(blob, described, row);
}

const namesIn = async (dir: string) => (await takeInventory(dir)).blobs.map(({ name }) => name).sort();

/** Serves images one after the other, then all at once, and closes. @returns bytes fetched */
async function serve(dir: string, images: readonly SyntheticBlob[]): Promise<number> {
  await using cache = BlobCache.open(dir, QUIET);
  for (const image of images) await readAll(acquire(cache, image, new ScriptedSource(image.bytes)), image);
  return cache.stats().bytesFetched;
}

Deno.test("images that divide a blob differently have separate files, and a restart fetches nothing", async () => {
  const one = await inBlocks(), two = cut(one, 3), three = cut(one, 6);
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const images = [one, two, three].map((image) => ({
    image,
    blob: acquire(cache, image, new ScriptedSource(image.bytes)),
  }));
  for (let round = 0; round < 2; round++) for (const { image, blob } of images) await readAll(blob, image);
  const [plain, ...apart] = await namesIn(dir.path);
  assert.equal(plain, "synthetic", "the first image uses the name that nydusd knows");
  assert.equal(apart.length, 2);
  for (const name of apart) assert.match(name, new RegExp(`^synthetic@${PART}$`));
  await cache.close();
  assert.equal(await serve(dir.path, [three, one, two]), 0);
  assert.deepEqual(await namesIn(dir.path), [plain, ...apart]);
});

Deno.test("images with the same description share a file, in whatever order they come", async () => {
  const one = await inBlocks(), two = cut(one, 3);
  const part = (from: number, to: number) => ({ ...two, records: two.records.slice(from, to) });
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const hold = (image: SyntheticBlob) => acquire(cache, image, new ScriptedSource(image.bytes));
  await readAll(hold(one), one);
  const first = hold(part(0, 3)), second = hold(part(1, 4));
  await ensureRows(first, two, [0, 2]);
  await ensureRows(second, two, [1, 3]);
  for (const row of [0, 1, 2, 3]) await assertCached(second, two, row);
  assert.equal((await namesIn(dir.path)).length, 2);
  assert.equal(cache.stats().bytesFetched, 2 * one.bytes.length);
});

Deno.test("an image with other chunk places gets separate files, whichever image comes first", async () => {
  const honest = await inBlocks(), other = swapped(honest, 2, 7);
  for (const order of [[honest, other], [other, honest]]) {
    using dir = TempDir.make();
    assert.equal(await serve(dir.path, order), 2 * honest.bytes.length);
    assert.match((await namesIn(dir.path))[1] ?? "", new RegExp(`^synthetic@${PART}@${PART}$`));
    for (const again of [order, order.toReversed()]) assert.equal(await serve(dir.path, again), 0);
  }
});

Deno.test("images that contradict each other never overwrite each other's files, also one after another", async () => {
  const honest = await inBlocks(), other = swapped(honest, 2, 7);
  using dir = TempDir.make();
  for (const image of [honest, other, honest, other]) await serve(dir.path, [image]);
  assert.equal((await namesIn(dir.path)).length, 2);
  assert.equal(await serve(dir.path, [honest]) + await serve(dir.path, [other]), 0);
});

Deno.test("an image with wrong digests can read nothing, and does not affect others", async () => {
  const honest = await inBlocks();
  const lie = {
    ...honest,
    records: honest.records.map((record) => ({ ...record, digest: new Uint8Array(32).fill(1) })),
  };
  for (const liesFirst of [true, false]) {
    using dir = TempDir.make();
    await using cache = BlobCache.open(dir.path, QUIET);
    const [first, second] = (liesFirst ? [lie, honest] : [honest, lie]).map((image) => ({
      blob: acquire(cache, image, new ScriptedSource(image.bytes)),
      read: async function () {
        if (image === honest) return await readAll(this.blob, image);
        await assert.rejects(ensureRows(this.blob, image, [0]), (error) => hasCode(error, "corrupt"));
      },
    }));
    for (let round = 0; round < 2; round++) {
      await first?.read();
      await second?.read();
    }
  }
});

Deno.test("an image without read chunks has no files, and discarding it removes only its own files", async () => {
  const one = await inBlocks(), two = cut(one, 3);
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const hold = (image: SyntheticBlob) => acquire(cache, image, new ScriptedSource(image.bytes));
  const held = hold(one), other = hold(two);
  await readAll(held, one);
  assert.deepEqual(await namesIn(dir.path), ["synthetic"]);
  await readAll(other, two);
  const owners = (image: SyntheticBlob) => new BlobNames({ ...image, records: () => image.records }).owners;
  const gone = new Set(owners(two)).difference(new Set(owners(one)));
  await cache.discard([...gone]);
  assert.equal((await namesIn(dir.path)).length, 2, "it is in use");
  await cache.release(other);
  const { bytesFetched } = cache.stats();
  await readAll(hold(two), two);
  assert.equal(cache.stats().bytesFetched, bytesFetched + two.bytes.length, "it had been removed");
  const collect = (wanted: readonly string[]) =>
    cache.collect({ dryRun: false, isWanted: (owner) => wanted.includes(owner) });
  await cache.release(held);
  assert.deepEqual((await collect(owners(two))).unwanted.map(({ name }) => name), ["synthetic"]);
  assert.deepEqual(await namesIn(dir.path), [owners(two)[1]]);
});

Deno.test("files without a recorded description belong to any image of the blob", () => {
  const description = "0".repeat(32);
  assert.equal(ownerOf("blob", () => undefined), "blob");
  assert.equal(ownerOf("blob", () => description), `blob@${description}`);
  assert.equal(ownerOf(`blob@${description}@${"1".repeat(32)}`, () => undefined), `blob@${description}`);
});

Deno.test("a blob name is an id, or an id with digests after it", () => {
  for (const name of ["a", "a.b_c-d", `a@${"0".repeat(32)}`, `a@${"0".repeat(32)}@${"f".repeat(32)}`]) {
    assert.ok(isBlobName(name), name);
  }
  for (const name of ["", "a@", `@${"0".repeat(32)}`, `a@${"0".repeat(31)}`, `a@${"G".repeat(32)}`, "a..b", "a/b"]) {
    assert.ok(!isBlobName(name), name);
  }
});
