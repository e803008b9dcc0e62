/**
 * When a cached chunk is trusted: after a restart, a crash, and with another image.
 *
 * @module
 */
import assert from "node:assert/strict";
import { acquire, assertCached, ensureRows, isReady, QUIET, withBlob } from "../../tests/support/blob/blob_setup.ts";
import { Gate, ScriptedSource } from "../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import type { Blob } from "./blob.ts";
import { BlobCache } from "./blob_cache.ts";
import { blobPaths } from "./cache/blob_paths.ts";

const TEN = Array<number>(10).fill(5_000);
const ALL = [0, 9];

/** Runs a server once on `dir` and returns what was fetched. */
async function serve(
  dir: string,
  synthetic: SyntheticBlob,
  use: (blob: Blob, cache: BlobCache) => Promise<void>,
): Promise<ScriptedSource> {
  await using cache = BlobCache.open(dir, QUIET);
  const source = new ScriptedSource(synthetic.bytes);
  await use(acquire(cache, synthetic, source), cache);
  return source;
}

const readAll = (synthetic: SyntheticBlob) => async (blob: Blob) => {
  await ensureRows(blob, synthetic, ALL);
  for (let row = 0; row < synthetic.plain.length; row++) await assertCached(blob, synthetic, row);
};

/**
 * Fills a cache, then restores the small files to what they were before they were recorded, as after a crash in
 * between.
 */
async function crash(dir: string, synthetic: SyntheticBlob, lost: readonly ("chunkMap" | "verified")[]): Promise<void> {
  const paths = blobPaths(dir, synthetic.descriptor.id);
  const before = new Map<string, Uint8Array>();
  await serve(dir, synthetic, async (blob) => {
    await ensureRows(blob, synthetic, ALL);
    for (const file of lost) before.set(paths[file], Deno.readFileSync(paths[file]));
  });
  for (const [path, content] of before) Deno.writeFileSync(path, content);
}

Deno.test("a warm cache answers all reads without a request", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await serve(dir.path, synthetic, readAll(synthetic));
  const source = await serve(dir.path, synthetic, async (blob) => {
    await blob.open();
    assert.ok(await isReady(blob, 9), "ready without reading the data");
    await readAll(synthetic)(blob);
  });
  assert.equal(source.reads.length, 0);
});

Deno.test("a data file that was modified since is verified again, and wrong chunks are fetched", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await serve(dir.path, synthetic, readAll(synthetic));
  const { data } = blobPaths(dir.path, synthetic.descriptor.id);
  const { atime, mtime } = Deno.statSync(data);
  const bytes = Deno.readFileSync(data);
  bytes[synthetic.records[3]?.uncompressedOffset ?? 0] = (synthetic.plain[3]?.[0] ?? 0) ^ 1;
  Deno.writeFileSync(data, bytes);
  Deno.utimeSync(data, atime ?? 0, mtime ?? 0);
  const healed = await serve(dir.path, synthetic, readAll(synthetic));
  assert.equal(healed.reads.length, 1);
  const { reads } = await serve(dir.path, synthetic, async (blob) => {
    await blob.open();
    assert.ok(await isReady(blob, 3), "recorded as verified again");
    await readAll(synthetic)(blob);
  });
  assert.equal(reads.length, 0);
});

Deno.test("chunks that were not recorded before a kill are fetched again", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  for (const lost of [["chunkMap"], ["chunkMap", "verified"]] as const) {
    using dir = TempDir.make();
    await crash(dir.path, synthetic, lost);
    const source = await serve(dir.path, synthetic, async (blob) => {
      await blob.open();
      assert.equal(await isReady(blob, 0), false);
      await readAll(synthetic)(blob);
    });
    assert.equal(source.bytesRead, synthetic.bytes.length, lost.join());
  }
});

Deno.test("a chunk map bit without a verified digest makes the cached data be verified, not fetched", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await crash(dir.path, synthetic, ["verified"]);
  const source = await serve(dir.path, synthetic, async (blob) => {
    await blob.open();
    assert.equal(await isReady(blob, 0), false);
    await readAll(synthetic)(blob);
  });
  assert.equal(source.reads.length, 0);
});

Deno.test("a chunk map bit whose data never reached the disk is not trusted", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await crash(dir.path, synthetic, ["verified"]);
  using data = Deno.openSync(blobPaths(dir.path, "synthetic").data, { write: true });
  data.seekSync(8192 * 3, Deno.SeekMode.Start);
  data.writeSync(new Uint8Array(4096));
  const source = await serve(dir.path, synthetic, readAll(synthetic));
  assert.deepEqual(source.reads.map(({ offset, length }) => [offset, length]), [[15_000, 5_000]]);
});

Deno.test("a chunk map bit that proves wrong is cleared on disk if the chunk cannot be fetched", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await crash(dir.path, synthetic, ["verified"]);
  const paths = blobPaths(dir.path, "synthetic");
  using data = Deno.openSync(paths.data, { write: true });
  data.writeSync(new Uint8Array(1));
  await serve(dir.path, { ...synthetic, bytes: new Uint8Array(0) }, async (blob) => {
    await assert.rejects(ensureRows(blob, synthetic, [0]), (error) => hasCode(error, "io"));
  });
  assert.equal(Deno.readFileSync(paths.chunkMap)[4096], 0x7f);
});

Deno.test("a copied cache is verified before use, and not fetched", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using first = TempDir.make();
  using second = TempDir.make();
  await serve(first.path, synthetic, readAll(synthetic));
  for (const path of Object.values(blobPaths(first.path, "synthetic"))) {
    if (!/\.(meta|copies|doubtful)$/.test(path)) Deno.copyFileSync(path, path.replace(first.path, second.path));
  }
  const source = await serve(second.path, synthetic, async (blob) => {
    await blob.open();
    assert.equal(await isReady(blob, 0), false);
    await readAll(synthetic)(blob);
  });
  assert.equal(source.reads.length, 0);
});

Deno.test("an image with other digests gets its own content, whatever is cached under the same blob id", async () => {
  const one = await makeSyntheticBlob({ sizes: TEN, seed: 1 });
  const two = await makeSyntheticBlob({ sizes: TEN, seed: 2 });
  using dir = TempDir.make();
  await serve(dir.path, one, readAll(one));
  const source = await serve(dir.path, two, readAll(two));
  assert.equal(source.bytesRead, two.bytes.length);
});

Deno.test("a damaged chunk map costs a fetch and causes no error", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await serve(dir.path, synthetic, readAll(synthetic));
  Deno.truncateSync(blobPaths(dir.path, "synthetic").chunkMap, 5000);
  const source = await serve(dir.path, synthetic, readAll(synthetic));
  assert.equal(source.bytesRead, synthetic.bytes.length);
});

Deno.test("chunks are recorded before the cache is closed", () =>
  withBlob({ sizes: TEN, cache: { flushAfterBytes: 1 } }, async ({ dir, blob, cache, synthetic }) => {
    await ensureRows(blob, synthetic, [0, 1]);
    await cache.flush();
    const paths = blobPaths(dir, "synthetic");
    assert.equal(Deno.readFileSync(paths.chunkMap)[4096], 0xc0);
    assert.deepEqual(Deno.readFileSync(paths.verified).subarray(64, 96), synthetic.records[0]?.digest);
  }));

Deno.test("two images that use different chunks of a blob share it", () =>
  withBlob({ sizes: TEN }, async ({ cache, source, synthetic }) => {
    const part = (from: number, to: number) => ({ ...synthetic, records: synthetic.records.slice(from, to) });
    const first = acquire(cache, part(0, 6), source);
    const second = acquire(cache, part(4, 10), new ScriptedSource(synthetic.bytes));
    await ensureRows(first, synthetic, [0, 5]);
    await ensureRows(second, synthetic, [4, 9]);
    for (const row of [0, 5, 9]) await assertCached(first, synthetic, row);
    assert.equal(cache.stats().blobs.length, 1);
    assert.equal(cache.stats().bytesFetched, synthetic.bytes.length);
  }));

Deno.test("a blob is closed with its last user, and can be opened again", () =>
  withBlob({ sizes: TEN }, async ({ cache, blob, synthetic, source }) => {
    const other = acquire(cache, synthetic, source);
    await ensureRows(blob, synthetic, [0]);
    await cache.release(blob);
    await cache.release(blob);
    await ensureRows(other, synthetic, [1]);
    await assert.rejects(blob.ensure(0, 1, "on-demand"), /it was released/);
    const closing = cache.release(other);
    const again = acquire(cache, synthetic, source);
    await ensureRows(again, synthetic, [0, 1]);
    await closing;
    assert.equal(source.reads.length, 2);
    assert.equal(cache.stats().requests, 2);
  }));

Deno.test("a blob that is released before it was opened is not free until its former user has recorded its chunks", () =>
  withBlob({ sizes: TEN }, async ({ dir, cache, blob, synthetic, source }) => {
    await ensureRows(blob, synthetic, [0]);
    const closing = cache.release(blob);
    await cache.release(acquire(cache, synthetic, source));
    assert.equal(Deno.readFileSync(blobPaths(dir, "synthetic").chunkMap)[4096], 0x80);
    await closing;
  }));

Deno.test("when an image is closed while it opens a blob, the next user continues the opening", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using dir = TempDir.make();
  await using cache = BlobCache.open(dir.path, QUIET);
  const source = new ScriptedSource(synthetic.bytes);
  const other = acquire(cache, synthetic, source);
  const first = acquire(cache, synthetic, source);
  const opening = assert.rejects(first.open(), (error) => hasCode(error, "interrupted"));
  const released = cache.release(first);
  await ensureRows(other, synthetic, ALL);
  await opening;
  await released;
});

Deno.test("a failed opening is retried", () =>
  withBlob({ sizes: TEN }, async ({ cache, synthetic, source }) => {
    let fails = true;
    const records = () => {
      if (fails) throw new NydusGdError("invalid-image", "Cannot read bootstrap: it is damaged");
      return synthetic.records;
    };
    const blob = cache.acquire({ descriptor: { ...synthetic.descriptor, id: "other" }, source, records });
    await assert.rejects(ensureRows(blob, synthetic, [0]), (error) => hasCode(error, "invalid-image"));
    fails = false;
    await ensureRows(blob, synthetic, [0]);
  }));

Deno.test("a cache that another server uses is refused", () =>
  withBlob({ sizes: TEN }, ({ dir }) => {
    assert.throws(() => BlobCache.open(dir), (error) => hasCode(error, "busy"));
    return Promise.resolve();
  }));

Deno.test("an id that leads out of the folder is refused", () =>
  withBlob({ sizes: TEN }, ({ cache, synthetic, source }) => {
    const descriptor = { ...synthetic.descriptor, id: "../escape" };
    assert.throws(
      () => cache.acquire({ descriptor, source, records: () => synthetic.records }),
      (error) => hasCode(error, "invalid-image"),
    );
    return Promise.resolve();
  }));

Deno.test("closing waits for running decodes and unlocks the folder", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: [300_000, 300_000], compressor: "zstd" });
  using dir = TempDir.make();
  const cache = BlobCache.open(dir.path, { ...QUIET, decodeWorkers: 1, inlineDecodeBytes: 0 });
  const source = new ScriptedSource(synthetic.bytes);
  const gate = new Gate();
  source.script = gate.script;
  const reading = Promise.allSettled([ensureRows(acquire(cache, synthetic, source), synthetic, [0, 1])]);
  await gate.arrived(1);
  gate.open();
  await cache.close();
  await reading;
  await BlobCache.open(dir.path).close();
});

Deno.test("a cache that keeps nothing leaves no named file, and nothing for the next one", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using temp = TempDir.make();
  const names = () => [...Deno.readDirSync(temp.join("transient"))].map(({ name }) => name);
  for (let server = 0; server < 2; server++) {
    await using cache = BlobCache.open(temp.path, { ...QUIET, keep: false });
    const source = new ScriptedSource(synthetic.bytes);
    const blob = acquire(cache, synthetic, source);
    await ensureRows(blob, synthetic, [0, 1]);
    for (const row of [0, 1]) await assertCached(blob, synthetic, row);
    await ensureRows(blob, synthetic, [0, 1]);
    assert.deepEqual([source.reads.length, names()], [1, [".nydus-gd.lock"]]);
  }
  await Deno.writeTextFile(temp.join("transient/synthetic.blob.data"), "of a server that was killed");
  await using _cache = BlobCache.open(temp.path, { ...QUIET, keep: false });
  assert.deepEqual(names(), [".nydus-gd.lock"]);
});

Deno.test("a cache that keeps nothing neither uses nor changes a kept cache in the same folder", async () => {
  const synthetic = await makeSyntheticBlob({ sizes: TEN });
  using temp = TempDir.make();
  const fetches: number[] = [];
  for (const keep of [true, false, true]) {
    await using cache = BlobCache.open(temp.path, { ...QUIET, keep });
    const source = new ScriptedSource(synthetic.bytes);
    await readAll(synthetic)(acquire(cache, synthetic, source));
    fetches.push(source.reads.length);
  }
  assert.deepEqual(fetches, [1, 1, 0]);
});
