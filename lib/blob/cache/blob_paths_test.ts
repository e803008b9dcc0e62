import assert from "node:assert/strict";
import { hasCode } from "../../base/errors.ts";
import { blobPaths } from "./blob_paths.ts";

Deno.test("an id that is not a plain file name is refused", () => {
  for (
    const id of ["", "..", "../x", "a/b", "a\0b", "a..b", "é", "a b", "a@b", `a@${"0".repeat(31)}`, "x".repeat(226)]
  ) {
    assert.throws(() => blobPaths("/cache", id), (error) => hasCode(error, "invalid-image"), id);
  }
  assert.equal(blobPaths("/cache", "my-blob_1.x").data, "/cache/my-blob_1.x.blob.data");
  assert.equal(blobPaths("/cache", `a@${"0".repeat(32)}`).meta, `/cache/a@${"0".repeat(32)}.blob.meta`);
  assert.equal(blobPaths("/cache", "x".repeat(225)).chunkMap.length, "/cache/".length + 225 + 20);
});
