import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { blobPaths } from "./blob_paths.ts";
import { CacheFolder } from "./cache_folder.ts";

Deno.test("a second server on the same folder is refused by name, and admitted after the first has ended", () => {
  using dir = TempDir.make();
  {
    using _first = CacheFolder.open(dir.path);
    assert.throws(
      () => CacheFolder.open(dir.path),
      (error) =>
        hasCode(error, "busy") && error.message === `Cannot open cache "${dir.path}": another nydus-gd uses it`,
    );
  }
  CacheFolder.open(dir.path)[Symbol.dispose]();
});

Deno.test("replacing a file leaves the new content and no temporary file", async () => {
  using dir = TempDir.make();
  using folder = CacheFolder.open(dir.join("cache"));
  const path = blobPaths(folder.path, "a").meta;
  await folder.replace(path, new Uint8Array([1]));
  await folder.replace(path, new Uint8Array([2, 3]));
  assert.deepEqual(Deno.readFileSync(path), new Uint8Array([2, 3]));
  assert.deepEqual([...Deno.readDirSync(folder.path)].map(({ name }) => name).sort(), [
    ".nydus-gd.lock",
    "a.blob.meta",
  ]);
});
