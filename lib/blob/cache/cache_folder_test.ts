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

Deno.test("a replacement that fails leaves the old file and no temporary file", async () => {
  using dir = TempDir.make();
  using folder = CacheFolder.open(dir.path);
  const path = blobPaths(folder.path, "a").meta;
  Deno.mkdirSync(`${path}/in-the-way`, { recursive: true });
  await assert.rejects(folder.replace(path, new Uint8Array([1])));
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name).sort(), [".nydus-gd.lock", "a.blob.meta"]);
});

Deno.test("a transient folder that cannot be emptied is not usable, and usable once it can be", () => {
  using dir = TempDir.make();
  const kept = dir.join("transient/of-somebody-else");
  Deno.mkdirSync(`${kept}/full`, { recursive: true });
  assert.throws(
    () => CacheFolder.openTransient(dir.path, undefined),
    (error) => hasCode(error, "io") && error.message.startsWith(`Cannot open cache "${dir.join("transient")}": `),
  );
  Deno.removeSync(kept, { recursive: true });
  CacheFolder.openTransient(dir.path, undefined)[Symbol.dispose]();
});
