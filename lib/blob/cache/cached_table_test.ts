import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { blobPaths } from "./blob_paths.ts";
import { CacheFolder } from "./cache_folder.ts";
import { CachedTable } from "./cached_table.ts";

Deno.test("changes of a cached table happen in the order in which they were asked for", async () => {
  using temp = TempDir.make();
  using folder = CacheFolder.open(temp.path);
  const table = new CachedTable(folder, blobPaths(temp.path, "blob"));
  table.keep(Uint8Array.of(1));
  table.setAside();
  await table.settled();
  assert.ok(!existsSync(table.path));
  assert.deepEqual(Deno.readFileSync(table.doubtfulPath), Uint8Array.of(1));
  table.keep(Uint8Array.of(2));
  table.keep(Uint8Array.of(3));
  await table.settled();
  assert.deepEqual(Deno.readFileSync(table.path), Uint8Array.of(3));
  assert.ok(!existsSync(table.doubtfulPath));
});

Deno.test("a table that is not cached can be set aside, without effect", async () => {
  using temp = TempDir.make();
  using folder = CacheFolder.open(temp.path);
  const table = new CachedTable(folder, blobPaths(temp.path, "blob"));
  table.setAside();
  await table.settled();
  assert.ok(!existsSync(table.doubtfulPath));
});
