import assert from "node:assert/strict";
import { acquire, QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { ScriptedSource } from "../../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { until } from "../../../tests/support/until.ts";
import { BlobCache, type BlobCacheOptions } from "../blob_cache.ts";
import { blobPaths } from "./blob_paths.ts";

const BLOCK = 4096, CHUNKS = 6;

const inBlocks = () => makeSyntheticBlob({ sizes: Array<number>(CHUNKS).fill(BLOCK) });

/** An image that uses only these chunks. */
function partOf(image: SyntheticBlob, ...rows: number[]): SyntheticBlob {
  return { ...image, records: image.records.filter(({ chunkIndex }) => rows.includes(chunkIndex)) };
}

/** An image that expects different bytes in one chunk. */
function lieAbout(image: SyntheticBlob, row: number): SyntheticBlob {
  const digest = new Uint8Array(32).fill(7);
  return { ...image, records: image.records.map((one) => one.chunkIndex === row ? { ...one, digest } : one) };
}

/** Names of the copies for images that one process has open at the same time. */
async function namesAtOnce(
  dir: string,
  images: readonly SyntheticBlob[],
  options: Partial<BlobCacheOptions> = {},
): Promise<string[]> {
  await using cache = BlobCache.open(dir, { ...QUIET, ...options });
  const names: string[] = [];
  for (const image of images) {
    const blob = acquire(cache, image, new ScriptedSource(image.bytes));
    await blob.open();
    names.push(await blob.copiesName());
  }
  return names;
}

/** The same for images opened one after the other by separate processes. */
async function namesInTurn(dir: string, images: readonly SyntheticBlob[]): Promise<string[]> {
  const names: string[] = [];
  for (const image of images) names.push(...await namesAtOnce(dir, [image]));
  return names;
}

/** Removes a file, which by its inode and time of birth is another than any file made later. */
async function remove(path: string): Promise<void> {
  const bornAt = () => Deno.statSync(path).birthtime?.getTime() ?? Infinity;
  const before = bornAt();
  await until("the clock of the file system goes on", async () => {
    await Deno.remove(path);
    await Deno.writeTextFile(path, "");
    return bornAt() > before;
  });
  await Deno.remove(path);
}

const distinct = (names: readonly string[]) => new Set(names).size;

Deno.test("images that agree share one name, whatever chunks they use, concurrently and after restarts", async () => {
  const whole = await inBlocks();
  const images = [partOf(whole, 0, 1), partOf(whole, 1, 4), whole, partOf(whole, 5)];
  using dir = TempDir.make();
  const names = [...await namesInTurn(dir.path, images), ...await namesAtOnce(dir.path, images)];
  assert.equal(distinct(names), 1);
  assert.match(names[0] ?? "", /^[0-9a-f]{64}$/);
});

Deno.test("an image that contradicts another gets another name, concurrently and in any order", async () => {
  const honest = await inBlocks(), lie = lieAbout(honest, 2);
  for (const order of [[lie, honest], [honest, lie]]) {
    using dir = TempDir.make();
    const inTurn = await namesInTurn(dir.path, [...order, ...order]);
    assert.equal(
      distinct(inTurn),
      inTurn.length,
      "neither image uses the other's copies, nor do later ones",
    );
    assert.equal(distinct([...await namesAtOnce(dir.path, order), ...inTurn.slice(0, -1)]), inTurn.length + 1);
  }
});

Deno.test("chunks described only by a closed image count as contradictions, even if never fetched", async () => {
  const whole = await inBlocks();
  using dir = TempDir.make();
  const [lied, known] = await namesInTurn(dir.path, [lieAbout(whole, 4), partOf(whole, 0, 1)]);
  assert.equal(known, lied, "it has no contradictory chunk");
  assert.notEqual((await namesInTurn(dir.path, [whole]))[0], lied);
});

Deno.test("two chunks at the same place contradict each other, whatever their indexes", async () => {
  const whole = await inBlocks();
  const [record = assert.fail()] = whole.records;
  const renumbered = { ...whole, records: [{ ...record, chunkIndex: 3, digest: new Uint8Array(32).fill(7) }] };
  using dir = TempDir.make();
  const names = await namesInTurn(dir.path, [renumbered, partOf(whole, 0, 1)]);
  assert.equal(distinct(names), 2);
});

Deno.test("the name changes when the record or the data file is lost", async () => {
  const image = await inBlocks();
  const { copies, data } = blobPaths("", image.descriptor.id);
  for (const lost of [copies, data]) {
    using dir = TempDir.make();
    const [before] = await namesInTurn(dir.path, [image]);
    await remove(dir.join(lost));
    assert.notEqual((await namesInTurn(dir.path, [image]))[0], before);
  }
  using dir = TempDir.make();
  const [before] = await namesInTurn(dir.path, [image]);
  await Deno.writeFile(dir.join(copies), (await Deno.readFile(dir.join(copies))).slice(0, 100));
  assert.notEqual((await namesInTurn(dir.path, [image]))[0], before, "a damaged record is ignored");
});

Deno.test("in a cache that keeps nothing the name is derived from the digests", async () => {
  const honest = await inBlocks(), lie = lieAbout(honest, 2);
  using dir = TempDir.make();
  const [first, other] = await namesAtOnce(dir.path, [honest, lie], { keep: false });
  assert.notEqual(first, other);
  assert.deepEqual(await namesAtOnce(dir.path, [lie, honest], { keep: false }), [other, first]);
});
