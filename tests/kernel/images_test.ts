/**
 * Images made by other tools, mounted by every data path and compared with the listing of their source.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { IMAGE_SUFFIX } from "../../lib/mount/erofs/erofs_tasks.ts";
import { effectiveBlobId } from "../../lib/rafs/format/flags.ts";
import { MountableFixture } from "../support/mount/mountable_fixture.ts";
import { fuseTest, TestSession } from "../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";
import { dataPathTest } from "../support/mount/mounts_kit.ts";
import { allRafsFixtures, storedListing } from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";
import { TreeWalker, walkInChild } from "../support/mount/tree_walk.ts";

const fixtures = allRafsFixtures().filter(({ blobsAbsent }) => !blobsAbsent);
/** Images whose names match the regular expression `NYDUS_GD_TEST_FIXTURES`, by default all: they are compared. */
const COMPARED = new RegExp(Deno.env.get("NYDUS_GD_TEST_FIXTURES") ?? "");
/** Time limit of the walk of one image, also on an emulated processor. */
const WALK_TIMEOUT_MS = 300_000;

dataPathTest("every image matches its listing, all of them in one session", async (kit) => {
  const { mounts, temp, dataPath } = kit;
  const opened: MountableFixture[] = [];
  await using walker = new TreeWalker();
  try {
    for (const [index, fixture] of fixtures.filter(({ name }) => COMPARED.test(name)).entries()) {
      const mountable = await MountableFixture.open(fixture, temp.path);
      opened.push(mountable);
      const mount = await mounts.add(mountable.image, index + 1);
      assert.equal(mount.fsDriver, dataPath.fsDriver);
      const { entries, failures } = await walker.walk(mount.path, WALK_TIMEOUT_MS);
      assert.deepEqual([entries, failures], [storedListing(fixture), []], fixture.name);
      await mount[Symbol.asyncDispose]();
      await mount.released;
    }
    // data paths that serve EROFS beyond the session keep files in a folder, and record their keeper
    const filesOf = {
      "erofs-fanotify": ["copies", "fanotify-keeper.json"],
      "erofs-fscache": ["fscache", "fscache-keeper.json"],
    };
    const files = Object.entries(filesOf).find(([fsDriver]) => fsDriver === dataPath.fsDriver)?.[1];
    assert.deepEqual(mountPointsBelow(temp.path), files ? [] : [mounts.mountpoint]);
    const left = [...Deno.readDirSync(temp.join("state"))].map(({ name }) => name)
      .filter((name) => !name.endsWith(IMAGE_SUFFIX)) // kept for the next mount
      .sort();
    assert.deepEqual(left, files ?? ["keeper.json"]);
    if (files !== undefined) assert.deepEqual([...Deno.readDirSync(temp.join(`state/${files[0]}`))], []);
  } finally {
    for (const mountable of opened) mountable[Symbol.dispose]();
  }
});

for (const version of ["5", "6"]) {
  fuseTest(`a single RAFS v${version} image is the mount itself`, async () => {
    const fixture = fixtures.find(({ name }) => name.startsWith(`v${version}-lz4`));
    assert.ok(fixture);
    const temp = TempDir.make();
    using mountable = await MountableFixture.open(fixture, temp.path);
    const single = { image: mountable.image, number: 3 };
    await using kit = await TestSession.startIn(temp, { single, workers: 1, openRequests: version === "5" });
    const found = await walkInChild(kit.session.mountpoint, AbortSignal.timeout(WALK_TIMEOUT_MS));
    assert.deepEqual(found, storedListing(fixture));
    await assert.rejects(kit.session.add(mountable.image, 4), (error) => hasCode(error, "internal"));
  });
}

/** One image per storage format; no two of them describe one blob differently. */
const FROM_CACHE = ["v5-layers-merged", "v6-zstd-batch", "v6-zstd-encrypt-batch", "v6-zran", "v6-tarfs"];

dataPathTest("images are served from the blob cache, and a warm cache fetches nothing", async (kit) => {
  const chosen = fixtures.filter(({ name }) => FROM_CACHE.includes(name));
  assert.equal(chosen.length, FROM_CACHE.length);
  const { mounts, temp } = kit;
  const walk = async (round: number): Promise<number> => {
    await using cache = await BlobCache.open(temp.join("cache"));
    let fetched = 0;
    for (const [index, fixture] of chosen.entries()) {
      using mountable = await MountableFixture.open(fixture, temp.path);
      const { tree } = mountable.image;
      const backend = LocalFsBackend.inFolder(join(fixture.directory, "blobs"));
      const blobs = tree.blobs.map((descriptor) => {
        const id = effectiveBlobId(descriptor, fixture.container);
        const { metaBlobId } = descriptor;
        return cache.acquire({
          ...{ descriptor, id, source: backend.blob(id) },
          ...(metaBlobId === undefined ? {} : { metaSource: backend.blob(metaBlobId) }),
          records: () => tree.chunkRecords(),
        });
      });
      const mount = await mounts.add({ ...mountable.image, blobs }, 10 * round + index + 1);
      const found = await walkInChild(mount.path, AbortSignal.timeout(WALK_TIMEOUT_MS));
      assert.deepEqual(found, storedListing(fixture));
      fetched += cache.stats().bytesFetched;
      await mount[Symbol.asyncDispose]();
      await mount.released;
      for (const blob of blobs) await cache.release(blob);
    }
    return fetched;
  };
  assert.notEqual(await walk(0), 0);
  assert.equal(await walk(1), 0);
});
