/**
 * Keys of nydusd's configuration for the tree and the cache, observed through `nydus-gd mount --config` and the kernel.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { fails, Server } from "../support/process/command.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { withKey } from "../support/backend/nydusd_keys.ts";
import { fixtureOf, type RafsFixture, readFixtureBootstrap, storedListing } from "../support/rafs/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";
import { walkInChild } from "../support/mount/tree_walk.ts";
import { spoilInodeDigest } from "../support/damage/wrong_inode_digest.ts";

const V5 = fixtureOf("v5-none-sha256-4k");
const V6 = fixtureOf("v6-none-sha256-4k");

/** A folder with a bootstrap, a mount point, and a v1 configuration in which some keys have other values. */
async function prepare(
  temp: TempDir,
  image: RafsFixture,
  bootstrap: Uint8Array,
  keys: Readonly<Record<string, unknown>>,
): Promise<{ dir: string; work: string; args: string[] }> {
  const [config, dir, boot, work] = ["config", "mnt", "image.boot", "cache"].map((name) => temp.join(name)) as [
    string,
    string,
    string,
    string,
  ];
  const backend = { type: "localfs", config: { dir: join(image.directory, "blobs") } };
  const cache = { type: "blobcache", config: { work_dir: work } };
  const document = Object.entries(keys).reduce<object>(
    (before, [key, value]) => withKey(before, key, value),
    { device: { backend, cache }, mode: "direct" },
  );
  await Deno.writeTextFile(config, JSON.stringify(document));
  await Deno.writeFile(boot, bootstrap);
  await Deno.mkdir(dir);
  return { dir, work, args: ["mount", "--config", config, boot, dir] };
}

/** Mounts and compares; returns the names of all files in the cache's folder afterwards. */
async function mounts(image: RafsFixture, keys: Readonly<Record<string, unknown>>): Promise<string[]> {
  using temp = TempDir.make();
  const { dir, work, args } = await prepare(temp, image, await readFixtureBootstrap(image), keys);
  {
    await using _server = await Server.start(args, /^mounted /);
    assert.deepEqual(await walkInChild(dir, AbortSignal.timeout(60_000)), storedListing(image), image.name);
  }
  return filesBelow(work);
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(join(folder, name)) : [name]
  );
}

for (const image of [V5, V6]) {
  fuseTest(`${image.name}: mode, enable_xattr and validate show the same tree, in work_dir`, async () => {
    for (
      const keys of [
        { mode: "direct", enable_xattr: true },
        { mode: "cached", enable_xattr: false, "device.cache.validate": true, digest_validate: true },
      ]
    ) {
      const kept = await mounts(image, keys);
      for (const { id } of openBootstrap(await readFixtureBootstrap(image)).blobs) {
        assert.ok(kept.includes(`${id}.blob.data`), kept.join());
      }
    }
  });

  fuseTest(`${image.name}: a dummycache shows the same tree, and leaves no data`, async () => {
    assert.deepEqual(await mounts(image, { "device.cache.type": "dummycache" }), [".nydus-gd.lock"]);
  });
}

fuseTest("digest_validate refuses a v5 image with a wrong file digest, which is mounted without it", async () => {
  const bootstrap = await readFixtureBootstrap(V5);
  spoilInodeDigest(bootstrap);
  using strict = TempDir.make();
  const { args } = await prepare(strict, V5, bootstrap, { digest_validate: true });
  await fails(args, /cannot read RAFS v5 inode \d+: the digest of "\/.+" is not/, undefined);
  using temp = TempDir.make();
  const lenient = await prepare(temp, V5, bootstrap, { digest_validate: false });
  await using _server = await Server.start(lenient.args, /^mounted /);
  assert.deepEqual(await walkInChild(lenient.dir, AbortSignal.timeout(60_000)), storedListing(V5));
});
