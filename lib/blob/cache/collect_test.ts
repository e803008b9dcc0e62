import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { blobPaths } from "./blob_paths.ts";
import { CacheFolder } from "./cache_folder.ts";
import { type BlobUsers, CacheSpace } from "./cache_space.ts";

/** No blob is in use by this process. */
const NOBODY: BlobUsers = {
  isInUse: () => false,
  namesInUse: () => [],
  whileUnused: async (_name, task) => {
    await task();
    return true;
  },
};

Deno.test("blobs that another process uses are neither unwanted nor evicted, nor are their left-over files removed", async () => {
  using dir = TempDir.make();
  using folder = CacheFolder.open(dir.path);
  const nothingFits = { maxSize: { bytes: 1 }, minFree: { bytes: 0 } };
  const space = new CacheSpace(folder, nothingFits, NOBODY, (id) => [id], () => {});
  for (const name of ["a", "b", "c"]) Deno.writeFileSync(blobPaths(dir.path, name).data, new Uint8Array(65_536));
  const left = `${dir.path}/a.blob.data.set-aside`;
  Deno.writeTextFileSync(left, "x");
  const collect = async (isInUse: (owner: string) => boolean, isWanted: (owner: string) => boolean) => {
    const { unwanted, evicted, leftOvers } = await space.collect({ isWanted, isInUse, dryRun: false });
    const names = [unwanted, evicted].map((blobs) => blobs.map(({ name }) => name).sort());
    return [...names, leftOvers.map(({ path }) => path)];
  };
  const isA = (owner: string) => owner === "a";
  assert.deepEqual(await collect(isA, () => false), [["b", "c"], [], []]);
  assert.deepEqual(await collect(isA, isA), [[], [], []]);
  assert.deepEqual([...folder.blobNames()], ["a"]);
  assert.equal(Deno.readTextFileSync(left), "x");
  assert.deepEqual(await collect(() => false, isA), [[], ["a"], [left]]);
  assert.deepEqual([...folder.blobNames()], []);
});
