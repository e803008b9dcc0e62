/**
 * Cache files damaged while nothing was mounted: the next mount returns no wrong byte and repairs what it can.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import { blobPaths } from "../../lib/blob/cache/blob_paths.ts";
import { CHUNK_MAP } from "../../lib/blob/cache/chunk_map.ts";
import { VERIFIED } from "../../lib/blob/cache/verified.ts";
import { MappedBootstrap } from "../../lib/image/mapped_bootstrap.ts";
import { OpenImage } from "../../lib/image/open_image.ts";
import { FixtureCopy, Patch } from "../support/damage/damage.ts";
import { fuseTest, TestSession } from "../support/mount/fuse_mount_kit.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { listRafsFixtures, type RafsFixture, readListing } from "../support/rafs/rafs_fixtures.ts";
import { TreeWalker } from "../support/mount/tree_walk.ts";
import { PATIENCE_MS } from "../support/until.ts";

type Paths = ReturnType<typeof blobPaths>;

/** Permitted result of the second mount: everything is right, or reads of the blob may fail. */
type After = "right" | "right or EIO";

type Kind = readonly [name: string, damage: (paths: Paths, folder: string) => void, after: After];

/** Changes a file in place, like an editor. */
function edit(path: string, change: (bytes: Uint8Array) => Uint8Array | void): void {
  const bytes = Deno.readFileSync(path);
  Deno.writeFileSync(path, change(bytes) ?? bytes);
}

/** Like {@link edit}, but restores the times. */
function editInSecret(path: string, change: (bytes: Uint8Array) => void): void {
  const { atime, mtime } = Deno.statSync(path);
  edit(path, change);
  Deno.utimeSync(path, atime ?? 0, mtime ?? 0);
}

const flipFirst = (bytes: Uint8Array) => void (bytes[0] = (bytes[0] as number) ^ 1);
/** Flips one bit of every block that has data. */
const flipSome = (bytes: Uint8Array) => {
  for (let i = 7; i < bytes.length; i += 4096) bytes[i] = (bytes[i] as number) ^ 4;
};
const flipAll = (bytes: Uint8Array) => bytes.map((byte) => byte ^ 0x55);

function otherwise(path: string, make: (path: string) => void): void {
  Deno.removeSync(path, { recursive: true });
  make(path);
}

const FILES = ["data", "chunkMap", "verified", "meta"] as const;

const KINDS: readonly Kind[] = [
  ["nothing", () => {}, "right"],
  ["data: a bit of every block", ({ data }) => edit(data, flipSome), "right"],
  ["data: a bit of every block, times set back", ({ data }) => editInSecret(data, flipSome), "right"],
  ["data: every bit", ({ data }) => edit(data, flipAll), "right"],
  ["data: zeros", ({ data }) => edit(data, (bytes) => void bytes.fill(0)), "right"],
  ["data: shifted by one byte", ({ data }) => edit(data, (bytes) => void bytes.copyWithin(1, 0)), "right"],
  ["data: cut to half", ({ data }) => edit(data, (bytes) => bytes.slice(0, bytes.length >> 1)), "right"],
  ["data: emptied", ({ data }) => Deno.truncateSync(data), "right"],
  ["data: longer", ({ data }) => edit(data, (bytes) => new Uint8Array(bytes.length + 1)), "right"],
  ["data: another file of its size", ({ data }) => {
    const noise = flipAll(Deno.readFileSync(data));
    otherwise(data, (path) => Deno.writeFileSync(path, noise));
  }, "right"],
  ["data: a hole, every bit of the map set", ({ data, chunkMap }) => {
    const { size } = Deno.statSync(data);
    otherwise(data, (path) => {
      Deno.writeFileSync(path, new Uint8Array());
      Deno.truncateSync(path, size);
    });
    edit(chunkMap, (bytes) => void bytes.fill(0xff, CHUNK_MAP.HEADER_SIZE));
  }, "right"],
  ["data: bits, verified digests removed", ({ data, verified }) => {
    edit(data, flipAll);
    Deno.removeSync(verified);
  }, "right"],
  ["data: bits, and the word that everything is ready", ({ data, chunkMap }) => {
    edit(data, flipAll);
    edit(chunkMap, (bytes) => new DataView(bytes.buffer).setUint32(CHUNK_MAP.allReady, CHUNK_MAP.ALL_READY, true));
  }, "right"],
  ["map: no bits", ({ chunkMap }) => edit(chunkMap, (bytes) => void bytes.fill(0, CHUNK_MAP.HEADER_SIZE)), "right"],
  [
    "map: every bit",
    ({ chunkMap }) => edit(chunkMap, (bytes) => void bytes.fill(0xff, CHUNK_MAP.HEADER_SIZE)),
    "right",
  ],
  ["map: magic", ({ chunkMap }) => edit(chunkMap, flipFirst), "right"],
  ["map: zeros", ({ chunkMap }) => edit(chunkMap, (bytes) => void bytes.fill(0)), "right"],
  ["map: cut", ({ chunkMap }) => Deno.truncateSync(chunkMap, 100), "right"],
  ["map: longer", ({ chunkMap }) => edit(chunkMap, (bytes) => new Uint8Array(bytes.length + 1)), "right"],
  ["verified: magic", ({ verified }) => edit(verified, flipFirst), "right"],
  ["verified: every digest", ({ verified }) =>
    edit(verified, (bytes) => {
      for (let i = VERIFIED.HEADER_SIZE; i < bytes.length; i++) bytes[i] = (bytes[i] as number) ^ 0xff;
    }), "right"],
  ["verified: zeros", ({ verified }) => edit(verified, (bytes) => void bytes.fill(0)), "right"],
  ["verified: cut", ({ verified }) => Deno.truncateSync(verified, 70), "right"],
  ["verified: longer", ({ verified }) => edit(verified, (bytes) => new Uint8Array(bytes.length + 1)), "right"],
  ["meta: a bit of the first entry", ({ meta }) => edit(meta, flipFirst), "right or EIO"],
  [
    "meta: stored places",
    ({ meta }) => edit(meta, (bytes) => void (bytes[9] = (bytes[9] as number) ^ 1)),
    "right or EIO",
  ],
  ["meta: zeros", ({ meta }) => edit(meta, (bytes) => void bytes.fill(0)), "right"],
  ["meta: magic", ({ meta }) => edit(meta, (bytes) => void (bytes[bytes.length - 1] = 0)), "right"],
  ["meta: cut", ({ meta }) => Deno.truncateSync(meta, 10), "right"],
  ["meta: 2^40 bytes", ({ meta }) => Deno.truncateSync(meta, 2 ** 40), "right"],
  ["meta: /dev/zero", ({ meta }) => otherwise(meta, (path) => Deno.symlinkSync("/dev/zero", path)), "right"],
  ...FILES.flatMap((file): Kind[] => [
    [`${file}: missing`, (paths) => Deno.removeSync(paths[file]), "right"],
    [`${file}: a directory`, (paths) => otherwise(paths[file], Deno.mkdirSync), "right or EIO"],
    [
      `${file}: a link to another file`,
      (paths, folder) => otherwise(paths[file], (path) => Deno.symlinkSync(join(folder, "outside"), path)),
      "right or EIO",
    ],
    [
      `${file}: a link to nothing`,
      (paths) => otherwise(paths[file], (path) => Deno.symlinkSync("x/y", path)),
      "right or EIO",
    ],
    [`${file}: a pipe`, (paths) =>
      otherwise(paths[file], (path) => {
        assert.ok(new Deno.Command("mkfifo", { args: [path] }).outputSync().success);
      }), "right or EIO"],
  ]),
];

const OUTSIDE = "not to be written to";

class Rounds {
  #number = 0;

  constructor(private readonly kit: TestSession, private readonly walker: TreeWalker) {}

  /** Mounts, walks, unmounts and closes the cache. @param home where the blobs are */
  async walk(fixture: RafsFixture, cacheDir: string, home = join(fixture.directory, "blobs")) {
    await using cache = BlobCache.open(cacheDir);
    const backend = LocalFsBackend.inFolder(home);
    const name = `round-${++this.#number}`;
    await using image = OpenImage.open({ name, bootstrap: MappedBootstrap.open(fixture.bootstrap), backend, cache });
    const mount = await this.kit.session.add(image, this.#number);
    const { entries, failures } = await this.walker.walk(mount.path, PATIENCE_MS);
    await mount[Symbol.asyncDispose]();
    await mount.released;
    const contents = new Map(entries.flatMap(({ path, sha256 }) => sha256 === undefined ? [] : [[path, sha256]]));
    return { contents, failures, bytesFetched: cache.stats().bytesFetched };
  }
}

for (const image of ["v5-layers-merged", "v6-layers-merged"]) {
  fuseTest(`a cache of ${image} that was damaged between two mounts shows no wrong byte`, async () => {
    const fixture = listRafsFixtures().find(({ name }) => name === image) ?? assert.fail();
    const listing = readListing(fixture.listing).filter(({ type }) => type === "reg");
    const expected = new Map(listing.map(({ path, sha256 }) => [path, sha256 ?? ""]));
    await using _quiet = await quietLogs();
    await using kit = await TestSession.start();
    await using walker = new TreeWalker();
    const rounds = new Rounds(kit, walker);
    const warm = kit.temp.join("warm");
    assert.deepEqual((await rounds.walk(fixture, warm)).contents, expected);
    const blob = [...Deno.readDirSync(warm)].find(({ name }) => name.endsWith(".blob.data")) ?? assert.fail();
    const found: string[] = [];
    for (const [name, damage, after] of KINDS) {
      const paths = blobPaths(warm, blob.name.slice(0, -".blob.data".length));
      if (name.startsWith("meta") && image.startsWith("v5")) continue;
      Deno.writeTextFileSync(kit.temp.join("outside"), OUTSIDE);
      damage(paths, kit.temp.path);
      const { contents, failures, bytesFetched } = await rounds.walk(fixture, warm);
      const wrong = [...expected].filter(([path, sha256]) => {
        const shown = contents.get(path) ?? "not there";
        return shown !== sha256 && !(after === "right or EIO" && shown.startsWith("ERR:"));
      });
      found.push(...wrong.map(([path]) => `${name}: ${path} is ${contents.get(path)}`));
      found.push(...failures.map((failure) => `${name}: ${failure}`));
      if (name === "nothing" && bytesFetched !== 0) found.push(`a warm cache fetches ${bytesFetched} bytes`);
      if (Deno.readTextFileSync(kit.temp.join("outside")) !== OUTSIDE) found.push(`${name}: wrote through the link`);
      // the next kind of damage gets an intact cache
      Deno.removeSync(warm, { recursive: true });
      assert.deepEqual((await rounds.walk(fixture, warm)).contents, expected);
    }
    assert.deepEqual(found, []);
  });
}

fuseTest("a corrupt chunk fails no file but its own, also while its registry is down", async () => {
  const copy = await FixtureCopy.of("v6-prefetch-fs");
  const { fixture } = copy;
  const at = copy.columns(0).compressedOffset[2] as number;
  new Patch(copy.blob(0)).flip(at);
  const wrong = copy.filesIn([{ blob: copy.id(0), from: at, to: at + 1 }]);
  const expected = new Map(
    readListing(fixture.listing).flatMap(({ type, path, sha256 = "" }) => type === "reg" ? [[path, sha256]] : []),
  );
  await using _quiet = await quietLogs();
  await using kit = await TestSession.start();
  await using walker = new TreeWalker();
  const rounds = new Rounds(kit, walker);
  const { blobDir } = await copy.write(kit.temp.join("image"));
  for (const life of ["at home", "homeless", "homeless still"]) {
    if (life === "homeless") await Deno.remove(join(blobDir, copy.id(0)));
    const { contents, failures } = await rounds.walk(fixture, kit.temp.join("cache"), blobDir);
    assert.deepEqual(failures, []);
    assert.deepEqual(
      new Set([...expected].filter(([path, sha256]) => contents.get(path) !== sha256).map(([path]) => path)),
      wrong,
    );
    for (const path of wrong) assert.match(contents.get(path) ?? "", /^ERR:/);
  }
});
