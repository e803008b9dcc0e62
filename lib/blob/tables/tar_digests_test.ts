import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import type { BlobDescriptor } from "../../rafs/bootstrap.ts";
import { allocateChunkColumns, DIGEST_SIZE } from "../../rafs/blob/chunk_table.ts";
import type { TableCache, TableSource } from "./table_source.ts";
import { blobPaths } from "../cache/blob_paths.ts";
import { addTarDigests } from "./tar_digests.ts";

const TAR = new Uint8Array(randomBytes(9 << 20));
const ID = createHash("sha256").update(TAR).digest("hex");
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const DESCRIPTOR: BlobDescriptor = {
  ...{ index: 0, id: ID, compressor: "none", digester: "sha256" },
  ...{ chunkSize: 1 << 20, chunkCount: 0, features: 0x4000_0040, meta: undefined },
  ...{ compressedSize: TAR.length, uncompressedSize: TAR.length },
};

/** Chunks of the tar: some adjacent, some with gaps between them, one across the border of two reads. */
const PLACES = [[512, 700], [4096, 512], [4608, 1 << 20], [(4 << 20) - 1024, 4096], [TAR.length - 10, 10]] as const;

function columnsOf(places: readonly (readonly [number, number])[]) {
  const columns = allocateChunkColumns(places.length, 0);
  places.forEach(([offset, size], row) => {
    columns.uncompressedOffset[row] = offset;
    columns.uncompressedSize[row] = size;
  });
  return columns;
}

function sourceOf(tar: Uint8Array, id = ID): TableSource & { reads: number } {
  return {
    ...{ id, descriptor: DESCRIPTOR, records: () => [], reads: 0 },
    read(offset, length) {
      this.reads++;
      return Promise.resolve(tar.slice(offset, offset + length));
    },
    size: () => Promise.resolve(tar.length),
  };
}

function cacheIn(temp: TempDir): TableCache {
  const { meta: path, doubtfulMeta: doubtfulPath } = blobPaths(temp.path, "x");
  return { path, doubtfulPath, keep: (content) => Deno.writeFileSync(path, content) };
}

Deno.test("the chunks of a tar get digests once the whole tar matches its name", async () => {
  using temp = TempDir.make();
  const cache = cacheIn(temp);
  for (const reads of [3, 0]) {
    const source = sourceOf(TAR);
    const columns = columnsOf(PLACES);
    await addTarDigests(source, columns, cache);
    assert.equal(source.reads, reads);
    PLACES.forEach(([offset, size], row) => {
      const found = columns.digests.slice(row * DIGEST_SIZE, (row + 1) * DIGEST_SIZE).toHex();
      assert.equal(found, sha256(TAR.subarray(offset, offset + size)));
    });
  }
  const other = sourceOf(TAR);
  await addTarDigests(other, columnsOf(PLACES.slice(1)), cache);
  assert.equal(other.reads, 3, "an image with other chunk boundaries does not use these digests");
});

Deno.test("a tar with one wrong byte anywhere yields no digest", async () => {
  for (const at of [0, 700, 5 << 20, TAR.length - 1]) {
    using temp = TempDir.make();
    const columns = columnsOf(PLACES);
    const damaged = TAR.with(at, (TAR[at] as number) ^ 1);
    await assert.rejects(
      addTarDigests(sourceOf(damaged), columns, cacheIn(temp)),
      (error) => hasCode(error, "corrupt"),
    );
    assert.ok(columns.digests.every((byte) => byte === 0));
    assert.deepEqual([...Deno.readDirSync(temp.path)], []);
  }
});

Deno.test("doubtful digests are computed anew, and used where the tar no longer matches", async () => {
  using temp = TempDir.make();
  const cache = cacheIn(temp);
  const expected = columnsOf(PLACES);
  await addTarDigests(sourceOf(TAR), expected, cache);
  for (const tar of [TAR.with(700, (TAR[700] as number) ^ 1), TAR]) {
    Deno.renameSync(cache.path, cache.doubtfulPath);
    const columns = columnsOf(PLACES);
    const source = sourceOf(tar);
    await addTarDigests(source, columns, cache);
    assert.deepEqual([columns.digests, source.reads], [expected.digests, 3]);
    if (tar !== TAR) Deno.renameSync(cache.doubtfulPath, cache.path);
  }
  assert.ok(Deno.statSync(cache.path).isFile);
});

Deno.test("a tar whose name is not a digest is refused: it cannot be verified", async () => {
  await assert.rejects(
    addTarDigests(sourceOf(TAR, "my-tar"), columnsOf(PLACES), undefined),
    (error) => hasCode(error, "unsupported"),
  );
});
