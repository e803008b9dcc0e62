/**
 * Images of every data path as containers in user namespaces see them: with shifted owners.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { isAtLeast } from "../../lib/doctor/kernel_checks.ts";
import { Differ } from "../../lib/layer/diff/differ.ts";
import { type IdMaps, toHost } from "../../lib/layer/userns/id_maps.ts";
import { ImageViews } from "../../lib/layer/lazy/image_views.ts";
import { mountOverlay, unmountAll } from "../../lib/layer/overlay/overlay_mount.ts";
import { requireIdmaps } from "../../lib/mount/idmaps.ts";
import { FolderImages } from "../support/layer/folder_images.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { MountableFixture } from "../support/mount/mountable_fixture.ts";
import { dataPathTest } from "../support/mount/mounts_kit.ts";
import { fixtureOf, type ListedEntry, percentEncode, storedListing } from "../support/rafs/rafs_fixtures.ts";
import { entriesOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { walkInChild } from "../support/mount/tree_walk.ts";

/** All kinds of files and owners, one of them outside of the namespace. */
const EVERYTHING = "v6-none-sha256-4k";
/** Two owners. */
const PLAIN = "v6-prefetch-fs";
const WALK_TIMEOUT_MS = 300_000;

/** Two ranges of users; groups are the machine's. */
const ID_MAPS: IdMaps = {
  uids: [{ containerId: 0, hostId: 100_000, size: 1 }, { containerId: 1, hostId: 200_000, size: 100_000 }],
  gids: [],
};
/** Whether overlays show access control lists of lower layers with shifted owners, too. */
const SHIFTS_ACLS = isAtLeast(Deno.osRelease(), [6, 2]);
/** What the kernel shows for an owner that is not mapped. */
const OVERFLOW_ID = 65_534;

dataPathTest("an image is seen with shifted owners through an overlay", async ({ mounts, temp, dataPath }) => {
  using mountable = await MountableFixture.open(fixtureOf(EVERYTHING), temp.path);
  await using mount = await mounts.add(mountable.image, 1);
  assert.equal(mount.fsDriver, dataPath.fsDriver);
  await using views = new ImageViews(new FolderImages(), ID_MAPS);
  const [place, merged, diff, work] = [temp.join("view"), temp.join("merged"), temp.join("upper"), temp.join("work")];
  for (const folder of [merged, diff, work]) Deno.mkdirSync(folder);
  {
    using view = await views.place(mount.path, place);
    mountOverlay({ lowers: [view.path], upper: { diff, work } }, merged);
  }
  try {
    assert.deepEqual(mountsBelow(place), []);
    const found = await walkInChild(merged, AbortSignal.timeout(WALK_TIMEOUT_MS));
    const stored = storedListing(fixtureOf(EVERYTHING));
    assert.deepEqual(found.map((entry) => comparable(entry)), stored.map((entry) => comparable(shifted(entry))));
  } finally {
    unmountAll(merged);
  }
});

dataPathTest("a tar of an image with shifted owners has its own owners", async ({ mounts, temp }) => {
  using mountable = await MountableFixture.open(fixtureOf(PLAIN), temp.path);
  await using mount = await mounts.add(mountable.image, 1);
  await using views = new ImageViews(new FolderImages(), ID_MAPS);
  using view = await views.open(mount.path);
  using differ = new Differ();
  const tar = await differ.tar({ layers: [view.path], below: [], idMaps: ID_MAPS }, new AbortController().signal);
  const entries = entriesOf(new Uint8Array(await new Response(tar).arrayBuffer()));
  const found = entries.map(({ name, uid, gid }) => `/${percentEncode(name).replace(/\/$/, "")} ${uid}:${gid}`);
  const stored = storedListing(fixtureOf(PLAIN)).filter(({ path, type }) => path !== "/" && type !== "sock");
  assert.deepEqual(found.sort(), stored.map(({ path, uid, gid }) => `${path} ${uid}:${gid}`).sort());
});

fuseTest("the kernel is asked by a FUSE mount of a moment whether it can map owners", async () => {
  using temp = TempDir.make();
  requireIdmaps("fuse", temp.path);
  assert.deepEqual(mountsBelow(temp.path), []);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(temp.path)), []);
});

function shifted({ xattrs = {}, uid, gid, ...entry }: ListedEntry): ListedEntry {
  const owner = toHost(ID_MAPS, { uid, gid }) ?? { uid: OVERFLOW_ID, gid };
  const values = Object.entries(xattrs).map(([name, value]) => [name, shiftedAttribute(name, value)]);
  return { ...entry, ...owner, xattrs: Object.fromEntries(values) };
}

/** Shifts the users of access control lists: `struct posix_acl_xattr_header` and entries of linux/posix_acl_xattr.h. */
function shiftedAttribute(name: string, base64: string): string {
  if (!name.startsWith("system.posix_acl_") || !SHIFTS_ACLS) return base64;
  const ACL_USER = 2;
  const bytes = Uint8Array.fromBase64(base64);
  const view = new DataView(bytes.buffer);
  for (let at = 4; at < bytes.length; at += 8) {
    if (view.getUint16(at, true) !== ACL_USER) continue;
    const { uid } = toHost(ID_MAPS, { uid: view.getUint32(at + 4, true), gid: 0 }) as { uid: number };
    view.setUint32(at + 4, uid, true);
  }
  return bytes.toBase64();
}

/** Without what overlays have of their own, and capabilities, to which the kernel adds the root that they are for. */
function comparable({ nlink, xattrs = {}, ...entry }: ListedEntry) {
  const hidden = (name: string) => name.startsWith("trusted.overlay.") || name === "security.capability";
  const shown = Object.fromEntries(Object.entries(xattrs).filter(([name]) => !hidden(name)));
  return entry.path === "/" ? {} : { ...entry, xattrs: shown, nlink: entry.type === "dir" ? 1 : nlink };
}
