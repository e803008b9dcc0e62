import assert from "node:assert/strict";
import { QUIET } from "../../tests/support/blob/blob_setup.ts";
import { buildFrom } from "../../tests/support/rafs/built_rafs.ts";
import { file, tarOf } from "../../tests/support/archive/tar_builder.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import type { Backend } from "../backend/blob_source.ts";
import { LocalFsBackend } from "../backend/localfs.ts";
import { NydusGdError } from "../base/errors.ts";
import { BlobCache } from "../blob/blob_cache.ts";
import { BootstrapWriter } from "../rafs/v6/writer.ts";
import { treeBlob } from "../../tests/support/rafs/rafs_trees.ts";
import { MappedBootstrap } from "./mapped_bootstrap.ts";
import { OpenImage } from "./open_image.ts";

const { bytes, blob, blobId } = await buildFrom(tarOf(file("f", "text")));

Deno.test("an image holds its blobs in the cache until it is disposed", async () => {
  using temp = TempDir.make();
  await Deno.writeFile(temp.join("image.boot"), bytes);
  await using cache = BlobCache.open(temp.join("cache"), QUIET);
  const backend = LocalFsBackend.inFolder(temp.path);
  const image = OpenImage.open({ name: "a", bootstrap: MappedBootstrap.open(temp.join("image.boot")), backend, cache });
  assert.equal(cache.stats().blobs.length, 1);
  await image[Symbol.asyncDispose]();
  assert.equal(cache.stats().blobs.length, 0);
});

Deno.test("an image that fails to open releases the blobs that it had acquired", async () => {
  using temp = TempDir.make();
  const writer = new BootstrapWriter({ chunkSize: 4096, compressor: "none", digester: "sha256" });
  writer.addInode({ mode: 0o40755, uid: 0, gid: 0, mtime: 0, mtimeNsec: 0 });
  await Deno.writeFile(temp.join("image.boot"), writer.finish([treeBlob(0), treeBlob(1)]));
  await using cache = BlobCache.open(temp.join("cache"), QUIET);
  const folder = LocalFsBackend.inFolder(temp.path);
  const backend: Backend = {
    description: "half",
    blob(id) {
      if (id === treeBlob(0).id) return folder.blob(id);
      throw new NydusGdError("invalid-image", `Cannot use blob id ${id}: it is not a sha256 digest`);
    },
  };
  assert.throws(
    () => OpenImage.open({ name: "a", bootstrap: MappedBootstrap.open(temp.join("image.boot")), backend, cache }),
    /it is not a sha256 digest/,
  );
  assert.equal(cache.stats().blobs.length, 0);
});

Deno.test("compression info that came with the bootstrap is not fetched again, but verified", async () => {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("image"));
  await Deno.mkdir(temp.join("blobs"));
  await Deno.writeFile(temp.join("image/image.boot"), bytes);
  await Deno.writeFile(temp.join(`blobs/${blobId}`), blob);
  const backend = LocalFsBackend.inFolder(temp.join("blobs"));
  const bytesToOpen = async (cacheName: string) => {
    await using cache = BlobCache.open(temp.join(cacheName), QUIET);
    await using image = OpenImage.open({
      name: "a",
      bootstrap: MappedBootstrap.open(temp.join("image/image.boot")),
      backend,
      cache,
    });
    await image.blobs[0]?.open();
    const fetched = cache.stats().bytesFetched;
    await image.blobs[0]?.ensure(0, 1, "on-demand");
    return fetched;
  };
  const alone = await bytesToOpen("first");
  assert.ok(alone > 0);
  const embedded = temp.join(`image/${blobId}.blob.meta`);
  await Deno.copyFile(temp.join(`first/${blobId}.blob.meta`), embedded);
  assert.equal(await bytesToOpen("second"), 0);
  const damaged = await Deno.readFile(embedded);
  damaged.fill(0xff, -1); // its second magic word
  await Deno.writeFile(embedded, damaged);
  assert.equal(await bytesToOpen("third"), alone);
});
