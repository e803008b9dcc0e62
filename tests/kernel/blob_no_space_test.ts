/**
 * A cache on a full disk: the range fails, the cache holds nothing wrong, and reads succeed once there is space.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mount, umount2 } from "../../ffi/sys_mount.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { acquire, assertCached, ensureRows, isReady, QUIET } from "../support/blob/blob_setup.ts";
import { rootTest } from "../support/root_test.ts";
import { ScriptedSource } from "../support/blob/scripted_source.ts";
import { makeSyntheticBlob } from "../support/blob/synthetic_blob.ts";
import { TempDir } from "../support/temp_dir.ts";

/** Runs `test` on a file system of 1 MiB. */
async function withSmallDisk(test: (dir: string) => Promise<void>): Promise<void> {
  using dir = TempDir.make();
  mount("tmpfs", dir.path, "tmpfs", 0, "size=1m");
  try {
    await test(dir.path);
  } finally {
    umount2(dir.path, 0);
  }
}

for (const decodeWorkers of [0, 1]) {
  const where = decodeWorkers === 0 ? "the caller's thread" : "a Worker";
  rootTest(`a full disk fails the range without space, decoded in ${where}`, () =>
    withSmallDisk(async (dir) => {
      const ballast = `${dir}/ballast`;
      Deno.writeFileSync(ballast, new Uint8Array(600 * 1024));
      const synthetic = await makeSyntheticBlob({ sizes: Array<number>(6).fill(128 * 1024) });
      await using cache = BlobCache.open(dir, { ...QUIET, decodeWorkers, inlineDecodeBytes: 0 });
      const source = new ScriptedSource(synthetic.bytes);
      const blob = acquire(cache, synthetic, source);
      await ensureRows(blob, synthetic, [0, 1]);
      await assert.rejects(
        ensureRows(blob, synthetic, [2, 5]),
        (error) =>
          hasCode(error, "io") &&
          /^Cannot read chunk \d of blob synthetic: the disk of the cache is full$/.test(error.message),
      );
      for (const row of [0, 1]) await assertCached(blob, synthetic, row);
      assert.equal(await isReady(blob, 5), false);
      Deno.removeSync(ballast);
      await ensureRows(blob, synthetic, [2, 5]);
      for (const row of [2, 3, 4, 5]) await assertCached(blob, synthetic, row);
    }));
}

rootTest(
  "on a full disk the oldest unused blob is evicted before a write fails",
  () =>
    withSmallDisk(async (dir) => {
      const limits = { maxSize: { percent: 100 }, minFree: { percent: 0 } };
      await using cache = BlobCache.open(dir, { ...QUIET, limits });
      const sizes = Array<number>(5).fill(128 * 1024), rows = [0, 1, 2, 3, 4];
      const use = async (id: string) => {
        const synthetic = await makeSyntheticBlob({ id, sizes });
        const blob = acquire(cache, synthetic, new ScriptedSource(synthetic.bytes));
        await ensureRows(blob, synthetic, rows);
        for (const row of rows) await assertCached(blob, synthetic, row);
        return blob;
      };
      await cache.release(await use("old"));
      const held = await use("new");
      await cache.flush();
      assert.throws(() => Deno.statSync(`${dir}/old.blob.data`), Deno.errors.NotFound);
      await assert.rejects(use("more"), (error) =>
        hasCode(error, "io") && /: the disk of the cache is full$/.test(error.message));
      await cache.release(held);
      await use("more");
    }),
);
