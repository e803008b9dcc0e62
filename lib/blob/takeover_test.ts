/**
 * Takeover of nydusd's own cache directories: nothing is fetched, everything is verified.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { QUIET } from "../../tests/support/blob/blob_setup.ts";
import { MemoryBlob, RAFS_FIXTURES } from "../../tests/support/rafs/rafs_fixtures.ts";
import { ScriptedSource } from "../../tests/support/blob/scripted_source.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { openBootstrap } from "../rafs/open.ts";
import { BlobCache } from "./blob_cache.ts";
import { blobPaths } from "./cache/blob_paths.ts";

const CACHES = join(RAFS_FIXTURES, "../nydusd_cache");
const MORE = join(RAFS_FIXTURES, "../../../../shared/fixtures");

const cases: [name: string, bootstrap: string, cache: string][] = [
  ["v6-blob-id", join(RAFS_FIXTURES, "v6-blob-id/bootstrap"), join(CACHES, "v6-blob-id")],
  ["v5-blob-id", join(CACHES, "v5-blob-id/bootstrap"), join(CACHES, "v5-blob-id")],
  ["v6-prefetch-fs", join(RAFS_FIXTURES, "v6-prefetch-fs/bootstrap"), join(MORE, "v6-prefetch-fs/nydusd-cache")],
];

function copyCache(from: string, to: string): void {
  for (const { name, isFile } of Deno.readDirSync(from)) {
    if (!isFile || name === "bootstrap") continue;
    Deno.writeFileSync(join(to, name), Deno.readFileSync(join(from, name)));
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

for (const [name, path, cached] of cases) {
  const ignore = !exists(cached);
  if (ignore) console.log(`skipped: the cache of ${name} is not at hand`);
  Deno.test({
    name: `nydusd's cache of ${name} is taken over without a fetch`,
    ignore,
    fn: async () => {
      using dir = TempDir.make();
      copyCache(cached, dir.path);
      const bootstrap = openBootstrap(await Deno.readFile(path));
      for (const readyAtOpen of [false, true]) {
        await using cache = BlobCache.open(dir.path, QUIET);
        const source = new ScriptedSource(new Uint8Array(0));
        for (const descriptor of bootstrap.blobs) {
          const blob = cache.acquire({ descriptor, source, records: () => bootstrap.chunkRecords() });
          const { chunks } = await blob.open();
          assert.ok(chunks.count > 0);
          assert.equal(blob.stats().chunksReady, readyAtOpen ? chunks.count : 0);
          await blob.ensure(0, descriptor.uncompressedSize, "on-demand");
          assert.equal(blob.stats().chunksReady, chunks.count);
        }
        assert.equal(source.reads.length, 0);
      }
    },
  });
}

Deno.test("a corrupt chunk in nydusd's cache is fetched, the others are not", async () => {
  using dir = TempDir.make();
  copyCache(join(CACHES, "v6-blob-id"), dir.path);
  const bootstrap = openBootstrap(await Deno.readFile(join(RAFS_FIXTURES, "v6-blob-id/bootstrap")));
  const [descriptor] = bootstrap.blobs;
  assert.ok(descriptor !== undefined);
  const { data } = blobPaths(dir.path, descriptor.id);
  const bytes = Deno.readFileSync(data);
  const stored = await Deno.readFile(join(RAFS_FIXTURES, "blobs", descriptor.id));
  const source = new ScriptedSource(stored);
  await using cache = BlobCache.open(dir.path, QUIET);
  const blob = cache.acquire({ descriptor, source, records: () => bootstrap.chunkRecords() });
  await blob.open();
  const { columns: chunks } = MemoryBlob.open(bootstrap, descriptor, stored);
  const at = (chunks.uncompressedOffset[1] as number) + 5;
  Deno.writeFileSync(data, bytes.map((byte, i) => i === at ? byte ^ 1 : byte));
  await blob.ensure(0, descriptor.uncompressedSize, "on-demand");
  assert.deepEqual(source.reads.map(({ offset, length }) => [offset, length]), [
    [chunks.compressedOffset[1], chunks.compressedSize[1]],
  ]);
  assert.deepEqual(Deno.readFileSync(data), bytes);
});
