/**
 * When the kernel may read a cache file without this process, and what such a file is.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { FALLOC, fallocate, O, open } from "../../ffi/fcntl.ts";
import { acquire, assertCached, ensureRows, isReady, withBlob } from "../../tests/support/blob/blob_setup.ts";
import { quietLogs } from "../../tests/support/quiet_logs.ts";
import { until } from "../../tests/support/until.ts";
import { hasCode } from "../base/errors.ts";
import { blobPaths } from "./cache/blob_paths.ts";

const THREE = Array<number>(3).fill(20_000);

Deno.test("chunks can be sealed only once they are on disk", () =>
  withBlob({ sizes: THREE }, async ({ blob, cache, synthetic }) => {
    await blob.open();
    let stored = 0;
    blob.onStored(() => stored++);
    assert.equal(blob.seal([0]), false);
    await ensureRows(blob, synthetic, [0, 1]);
    assert.equal(blob.seal([0]), false);
    await cache.flush();
    assert.equal(stored, 1);
    assert.deepEqual([blob.seal([0, 1]), blob.seal([0, 1, 2])], [true, false]);
  }));

Deno.test("chunks that an earlier server stored can be sealed at once", () =>
  withBlob({ sizes: THREE }, async ({ blob, cache, source, synthetic }) => {
    await ensureRows(blob, synthetic, [0, 1, 2]);
    await cache.release(blob);
    const again = acquire(cache, synthetic, source);
    await again.open();
    assert.equal(again.seal([0, 1, 2]), true);
  }));

Deno.test("a truncated sealed file is an error and is not extended, which would show zeros", () =>
  withBlob({ sizes: THREE }, async ({ blob, cache, synthetic }) => {
    await ensureRows(blob, synthetic, [0, 1]);
    await cache.flush();
    assert.equal(blob.seal([0, 1]), true);
    const { path } = await blob.open();
    assert.ok(path !== undefined);
    const { size } = await Deno.stat(path);
    await Deno.truncate(path, 30_000);
    await assert.rejects(ensureRows(blob, synthetic, [2]), (error) => hasCode(error, "io"));
    assert.throws(() => blob.seal([0]), (error) => hasCode(error, "io"));
    assert.equal((await Deno.stat(path)).size, 30_000);
    assert.equal(await isReady(blob, 2), false);
    await Deno.truncate(path, size); // closing the cache would report it
  }));

Deno.test("a truncated file that is not sealed is extended, and what it had counts once it was verified again", () =>
  withBlob({ sizes: THREE }, async ({ blob, cache, source, synthetic }) => {
    const warnings: LogRecord[] = [];
    await using _quiet = await quietLogs(warnings);
    await ensureRows(blob, synthetic, [0, 1, 2]);
    await cache.flush();
    const { path, ready } = await blob.open();
    assert.ok(path !== undefined);
    const { size } = await Deno.stat(path);
    await Deno.truncate(path, 30_000); // within the second chunk
    assert.equal(blob.seal([0, 1, 2]), false);
    source.reads.length = 0;
    await ensureRows(blob, synthetic, [0]);
    assert.equal(ready[0], 0b1000_0000);
    assert.deepEqual([source.reads.length, (await Deno.stat(path)).size], [0, size]);
    await ensureRows(blob, synthetic, [1, 2]);
    for (const row of [0, 1, 2]) await assertCached(blob, synthetic, row);
    assert.ok(source.reads.length > 0);
    assert.match(String(warnings[0]?.message[0]), /^cache file was truncated, verifying its content again/);
  }));

Deno.test("what a truncated file had is not on record any more: the next server does not take its zeros for chunks", () =>
  withBlob({ sizes: THREE }, async ({ blob, cache, source, synthetic }) => {
    await using _quiet = await quietLogs();
    await ensureRows(blob, synthetic, [0, 1, 2]);
    await cache.flush();
    const { path } = await blob.open();
    const { uncompressedOffset = 0, uncompressedSize = 0 } = synthetic.records[2] ?? {};
    await Deno.truncate(String(path), uncompressedOffset + uncompressedSize - 60); // within a block: no hole remains
    await ensureRows(blob, synthetic, [0]);
    await cache.release(blob);
    const again = acquire(cache, synthetic, source);
    const { ready } = await again.open();
    assert.equal(ready[0], 0b1000_0000);
    await ensureRows(again, synthetic, [1, 2]);
    for (const row of [0, 1, 2]) await assertCached(again, synthetic, row);
  }));

Deno.test("a cache that keeps nothing gives away no path and seals nothing", () =>
  withBlob({ sizes: THREE, cache: { keep: false } }, async ({ blob, synthetic }) => {
    await ensureRows(blob, synthetic, [0]);
    assert.equal((await blob.open()).path, undefined);
    assert.equal(blob.seal([0]), false);
  }));

Deno.test("holes that another program made in a file in use are found when it is opened again", () =>
  withBlob({ sizes: [...THREE, 20_000] }, async ({ dir, blob, cache, source, synthetic }) => {
    await using _quiet = await quietLogs();
    await ensureRows(blob, synthetic, [0, 1, 2]);
    await cache.flush();
    {
      using file = open(blobPaths(dir, blob.id).data, O.RDWR);
      fallocate(file, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 24_576, 8192);
    }
    await ensureRows(blob, synthetic, [3]);
    await cache.release(blob);
    source.reads.length = 0;
    const again = acquire(cache, synthetic, source);
    for (const row of [0, 1, 2, 3]) {
      await ensureRows(again, synthetic, [row]);
      await assertCached(again, synthetic, row);
    }
    assert.deepEqual(source.reads.map(({ offset }) => offset), [synthetic.records[1]?.compressedOffset]);
  }));

Deno.test("holes that another program makes in a file in use are noticed soon, and filled", () =>
  withBlob({ sizes: THREE, cache: { lookForHolesMs: 5 } }, async ({ dir, blob, cache, source, synthetic }) => {
    await using _quiet = await quietLogs();
    await ensureRows(blob, synthetic, [0, 1, 2]);
    await cache.flush();
    assert.equal(blob.seal([0, 1, 2]), true);
    source.reads.length = 0;
    {
      using file = open(blobPaths(dir, blob.id).data, O.RDWR);
      fallocate(file, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 24_576, 8192);
    }
    await until("the hole is noticed", () => source.reads.length > 0);
    await until("it is filled", () => isReady(blob, 1));
    for (const row of [0, 1, 2]) await assertCached(blob, synthetic, row);
    assert.deepEqual(source.reads.map(({ offset }) => offset), [synthetic.records[1]?.compressedOffset]);
    assert.equal(blob.seal([0, 1, 2]), false, "it is not on disk yet");
    await cache.flush();
    assert.equal(blob.seal([0, 1, 2]), true);
  }));

Deno.test("holes where chunks have zeros are no damage", () =>
  withBlob(
    { sizes: THREE, zeros: [1], cache: { lookForHolesMs: 5 } },
    async ({ dir, blob, cache, source, synthetic }) => {
      const warnings: LogRecord[] = [];
      await using _quiet = await quietLogs(warnings);
      await ensureRows(blob, synthetic, [0, 1, 2]);
      await cache.flush();
      source.reads.length = 0;
      using file = open(blobPaths(dir, blob.id).data, O.RDWR);
      fallocate(file, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 24_576, 8192); // of chunk 1
      await until("its chunk is verified again", async () => !blob.seal([1]) && await isReady(blob, 1));
      assert.deepEqual([source.reads, warnings], [[], []]);
      fallocate(file, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 8192, 8192); // of chunk 0
      await until("damage is reported", () => warnings.length > 0);
      assert.equal(warnings[0]?.properties["chunks"], 1);
      for (const row of [0, 1, 2]) await assertCached(blob, synthetic, row);
    },
  ));
