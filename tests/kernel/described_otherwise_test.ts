/**
 * Images that describe one blob in several ways (a layer cut into other chunks, a tar with and without a chunk table):
 * mounted at once, each reads completely, and unmounting one does not affect the other.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { takeInventory } from "../../lib/blob/cache/cache_inventory.ts";
import { MappedBootstrap } from "../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../lib/image/open_image.ts";
import type { ImageMount } from "../../lib/mount/image_mount.ts";
import { dataPathTest, type TestMounts } from "../support/mount/mounts_kit.ts";
import { listRafsFixtures, type RafsFixture, storedListing } from "../support/rafs/rafs_fixtures.ts";
import { TreeWalker } from "../support/mount/tree_walk.ts";

const fixtures = listRafsFixtures();

/** Groups of images of one blob. */
const SHAPES: readonly (readonly string[])[] = [["v6-tar-ref", "v6-tarfs"], ["v6-zran", "v6-zran-4k"]];

/** A mounted image. */
interface Shown extends AsyncDisposable {
  readonly fixture: RafsFixture;
  readonly mount: ImageMount;
  readonly owners: readonly string[];
}

let nextNumber = 1;

async function show({ mounts }: TestMounts, cache: BlobCache, fixture: RafsFixture): Promise<Shown> {
  const backend = LocalFsBackend.inFolder(join(fixture.directory, "blobs"));
  const bootstrap = MappedBootstrap.open(fixture.bootstrap);
  const owners = bootstrap.blobNames().flatMap((names) => names.owners);
  const number = nextNumber++;
  const image = OpenImage.open({ name: `${fixture.name}-${number}`, bootstrap, backend, cache });
  const mount = await mounts.add(image, number);
  return {
    fixture,
    mount,
    owners,
    async [Symbol.asyncDispose]() {
      await mount[Symbol.asyncDispose]();
      await mount.released;
      await image[Symbol.asyncDispose]();
    },
  };
}

for (const names of SHAPES) {
  const shape = names.map((name) => fixtures.find((fixture) => fixture.name === name) ?? assert.fail(name));
  dataPathTest(`${names.join(" and ")} describe one blob and are mounted at once`, async (kit) => {
    const cacheDir = kit.temp.join("cache");
    await using walker = new TreeWalker();
    const look = async ({ mount, fixture }: Shown) => {
      assert.equal(mount.fsDriver, kit.dataPath.fsDriver);
      const { entries, failures } = await walker.walk(mount.path, 60_000);
      assert.deepEqual([entries, failures], [storedListing(fixture), []], fixture.name);
    };
    for (const images of [shape, shape.toReversed()]) {
      await using cache = BlobCache.open(cacheDir);
      await using stack = new AsyncDisposableStack();
      const shown: Shown[] = [];
      for (const fixture of images) shown.push(stack.use(await show(kit, cache, fixture)));
      for (const one of shown) await look(one);
      assert.equal((await takeInventory(cacheDir)).blobs.length, shape.length);
      assert.equal(cache.stats().bytesFetched > 0, images === shape, "the second time everything is cached");
    }
    await using cache = BlobCache.open(cacheDir);
    const [kept, gone] = shape as [RafsFixture, RafsFixture];
    await using first = await show(kit, cache, kept);
    const second = await show(kit, cache, gone);
    const owners = new Set(second.owners).difference(new Set(first.owners));
    await second[Symbol.asyncDispose]();
    await cache.discard([...owners]);
    const { blobs } = await takeInventory(cacheDir);
    assert.deepEqual(blobs.map(({ owner }) => first.owners.includes(owner)), [true]);
    await look(first);
  });
}
