/**
 * Trees from which other tools made images, converted by nydus-gd and read through the kernel: by its EROFS alone, and
 * by every data path.
 *
 * @module
 */
import assert from "node:assert/strict";
import { basename } from "node:path";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { DEFAULT_FETCH_OPTIONS } from "../../lib/backend/http/fetch_options.ts";
import { HttpClient } from "../../lib/backend/http/http_client.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import type { RafsOptions } from "../../lib/image/convert/format/rafs_options.ts";
import { locateImage } from "../../lib/image/source/locate_image.ts";
import { MappedBootstrap } from "../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../lib/image/open_image.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { ConvertKit, noise } from "../support/image/convert_kit.ts";
import { canMountErofs, mountErofs, writeAddressSpace } from "../support/mount/erofs_mount.ts";
import { dataPathTest } from "../support/mount/mounts_kit.ts";
import { allRafsFixtures, type ListedEntry, type RafsFixture } from "../support/rafs/rafs_fixtures.ts";
import { anonymousAccess } from "../support/image/source_access.ts";
import { Tmpfs } from "../support/tmpfs.ts";
import { listTree, walkInChild } from "../support/mount/tree_walk.ts";
import { unpackInto } from "../support/rafs/unpack_fixture.ts";

/** One image of each tree, by the name of its listing. */
function treesOf(fixtures: readonly RafsFixture[]): Map<string, RafsFixture> {
  const whole = fixtures.filter(({ blobsAbsent }) => !blobsAbsent);
  return new Map(whole.map((fixture) => [basename(fixture.listing), fixture]));
}

const TREES = treesOf(allRafsFixtures());

/** In turn. */
const OPTIONS: readonly Partial<RafsOptions>[] = [
  { chunkSize: 4096, batchSize: 0, compressor: "none" },
  { chunkSize: 512 * 1024, batchSize: 64 * 1024 },
  { chunkSize: 64 * 1024, batchSize: 0, compressor: "lz4_block", digester: "blake3" },
];

const signal = new AbortController().signal;

/** Omitted by a conversion: sockets, which no image has, and attributes that the file system would interpret. */
const LEFT_OUT = /^(trusted\.overlay\..*|security\.selinux)$/;

function asConverted(entries: readonly ListedEntry[]): ListedEntry[] {
  return entries.filter(({ type }) => type !== "sock").map(({ xattrs, ...entry }) => {
    const kept = Object.entries(xattrs ?? {}).filter(([name]) => !LEFT_OUT.test(name));
    return kept.length === 0 ? entry : { ...entry, xattrs: Object.fromEntries(kept) };
  });
}

/** Writes the tree of an image to a folder. @returns the expected listing of an image of that folder */
async function unpackTree(fixture: RafsFixture, dir: string): Promise<ListedEntry[]> {
  await unpackInto(dir, fixture);
  return asConverted(listTree(dir));
}

/** Bootstrap and blobs of the kit's last conversion. */
async function made(kit: ConvertKit): Promise<{ bootstrap: string; blobDir: string }> {
  using http = new HttpClient(DEFAULT_FETCH_OPTIONS);
  const access = anonymousAccess(http, kit.temp.path);
  const { source } = await locateImage({ what: kit.named("target") }, access, signal);
  return { bootstrap: source, blobDir: kit.temp.join("target/blobs/sha256") };
}

for (const [number, [listing, fixture]] of [...TREES].entries()) {
  Deno.test({
    name: `the kernel's EROFS shows the tree of ${listing}, converted`,
    ignore: !canMountErofs,
    fn: async () => {
      using tree = new Tmpfs();
      const expected = await unpackTree(fixture, tree.join("tree"));
      using kit = new ConvertKit();
      await kit.convert(`dir:${tree.join("tree")}`, kit.named("target"), OPTIONS[number % OPTIONS.length]);
      const { bootstrap, blobDir } = await made(kit);
      const opened = openBootstrap(await Deno.readFile(bootstrap));
      const devices = opened.blobs.map(({ index }) => kit.temp.join(`device-${index}`));
      for (const { index, id } of opened.blobs) {
        await writeAddressSpace(opened, index, await Deno.readFile(`${blobDir}/${id}`), devices[index] ?? "");
      }
      await Deno.mkdir(kit.temp.join("mnt"));
      using mounted = mountErofs(bootstrap, devices, kit.temp.join("mnt"));
      if (mounted !== undefined) assert.deepEqual(listTree(kit.temp.join("mnt")), expected);
    },
  });
}

Deno.test({
  name: "an uncompressed blob of block-aligned files is used as the device itself",
  ignore: !canMountErofs,
  fn: async () => {
    using kit = new ConvertKit();
    const tree = kit.temp.join("tree");
    await Deno.mkdir(`${tree}/d`, { recursive: true });
    for (const blocks of [1, 2, 17]) await Deno.writeFile(`${tree}/d/${blocks}`, noise(blocks * 4096, blocks));
    await Deno.writeFile(`${tree}/zeros`, new Uint8Array(40_960));
    await Deno.writeFile(`${tree}/same`, noise(2 * 4096, 2));
    await Deno.writeFile(`${tree}/empty`, new Uint8Array());
    await kit.convert(`dir:${tree}`, kit.named("target"), { compressor: "none", chunkSize: 4096 });
    const { bootstrap, blobDir } = await made(kit);
    const devices = openBootstrap(await Deno.readFile(bootstrap)).blobs.map(({ id }) => `${blobDir}/${id}`);
    await Deno.mkdir(kit.temp.join("mnt"));
    using mounted = mountErofs(bootstrap, devices, kit.temp.join("mnt"));
    if (mounted !== undefined) assert.deepEqual(listTree(kit.temp.join("mnt")), listTree(tree));
  },
});

dataPathTest(
  "converted trees are shown unchanged, from the blob cache",
  async ({ mounts, temp }) => {
    await using cache = await BlobCache.open(temp.join("cache"));
    for (const [number, fixture] of [...treesOf(allRafsFixtures()).values()].entries()) {
      using tree = new Tmpfs();
      const expected = await unpackTree(fixture, tree.join("tree"));
      using kit = new ConvertKit();
      const fsVersion = number % 2 === 0 ? 6 : 5;
      const options = { ...OPTIONS[number % OPTIONS.length], fsVersion } as const;
      await kit.convert(`dir:${tree.join("tree")}`, kit.named("target"), options);
      const { bootstrap, blobDir } = await made(kit);
      const backend = LocalFsBackend.inFolder(blobDir);
      await using image = OpenImage.open({
        ...{ name: `tree-${number}`, backend, cache },
        bootstrap: MappedBootstrap.open(bootstrap),
      });
      const mount = await mounts.add(image, number + 1);
      assert.deepEqual(await walkInChild(mount.path, AbortSignal.timeout(60_000)), expected, fixture.listing);
      await mount[Symbol.asyncDispose]();
      await mount.released;
    }
  },
);
