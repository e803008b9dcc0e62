/**
 * A cache whose disk refuses what the kernel writes later: the program has written a chunk, the kernel drops it, and
 * reads of the cache file give zeros. Readers of the image get the chunk from the registry again, or an error. Once the
 * disk has room, what they get is stored, also where the kernel still has pages that it could not write.
 *
 * The disk is a loop device on a sparse file of a tmpfs, and there is nothing left in that tmpfs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { SyscallError } from "../../ffi/errno.ts";
import { dropPages, O, open } from "../../ffi/fcntl.ts";
import { readProcessLink } from "../../ffi/procfs.ts";
import { fdatasync } from "../../ffi/unistd.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { keepImage, keptDevices } from "../../lib/mount/erofs/kept_image.ts";
import type { FsDriver } from "../../lib/mount/data_path.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { LAZY_IMAGE, LazyServe } from "../support/serve/lazy_serve.ts";
import { RAFS_FIXTURES, readFixtureBootstrap, readListing } from "../support/rafs/rafs_fixtures.ts";
import { Server } from "../support/process/command.ts";
import { rootTest } from "../support/root_test.ts";
import { sh } from "../support/process/shell.ts";
import { TempDir } from "../support/temp_dir.ts";
import { turn } from "../support/until.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";

/** Files are read once, then once more after the kernel has had time to lose them. */
const FILES = 24;
/** The kernel writes and drops pages when asked to, but not those that are in use at that moment. */
const DROPS = 5;
/** Reads while the kernel loses pages all the time. */
const HARD_READS = 150;

/**
 * Mounts a file system on `cache` whose disk has its data in `under`. Each request is a page, since the loop driver
 * calls a request that was written in part a success.
 */
async function mountThinDisk(under: string, cache: string): Promise<void> {
  await sh(
    `mount -t tmpfs -o size=96m tmpfs "$1"; truncate -s 64M "$1/disk"
    mkfs.ext4 -q -b 4096 -O ^has_journal -E lazy_itable_init=0 "$1/disk"
    mount -o loop,errors=continue "$1/disk" "$2"
    echo 4 >"/sys/block/$(basename "$(findmnt -no SOURCE "$2")")/queue/max_sectors_kb"`,
    under,
    cache,
  );
}

/** Mounts an overlay on `dir` whose upper layer is on `disk`. */
async function mountOverlay(disk: string, dir: string): Promise<void> {
  await sh(
    `mkdir "$1/lower" "$1/upper" "$1/work"
    mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay "$2"`,
    disk,
    dir,
  );
}

/** Leaves no room below a thin disk whose file system is on `cache`. */
async function fillThinDisk(under: string, cache: string): Promise<void> {
  await sh('sync -f "$1"; dd if=/dev/zero of="$2/ballast" bs=4k 2>/dev/null || true', cache, under);
}

/** Has the kernel write what it has of these files, and keep it in memory. */
function write(paths: readonly string[]): void {
  for (const path of paths) {
    using file = open(path, O.RDONLY);
    try {
      fdatasync(file);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error; // the disk refuses it
    }
  }
}

/** Has the kernel write and drop what it has of these files. */
function drop(paths: readonly string[]): void {
  for (const path of paths) {
    using file = open(path, O.RDONLY);
    for (let i = 0; i < DROPS; i++) dropPages(file);
  }
}

/** A `serve` whose cache is on a thin disk. */
interface ThinServe {
  readonly serve: LazyServe;
  /** Has every write to the disk fail, or ends that. */
  readonly fill: () => Promise<void>;
  readonly relieve: () => void;
  /** Paths of the cache's data files. */
  readonly cached: () => string[];
}

/** @param on what the cache is on: the disk, or an overlay whose upper layer is on it */
async function withThinServe(
  fsDriver: FsDriver,
  test: (thin: ThinServe) => Promise<void>,
  on: "disk" | "overlay" = "disk",
): Promise<void> {
  using temp = TempDir.make();
  const [under, disk, cache] = [temp.join("under"), temp.join("disk"), temp.join("cache")];
  for (const folder of [under, disk, cache]) Deno.mkdirSync(folder);
  try {
    await mountThinDisk(under, disk);
    if (on === "disk") await sh('mount --bind "$1" "$2"', disk, cache);
    else await mountOverlay(disk, cache);
    const env = {
      NYDUS_GD_CACHE_DIR: cache,
      NYDUS_GD_MOUNT_FS_DRIVER: fsDriver,
      NYDUS_GD_PREFETCH_READ_AHEAD: "0",
    };
    await using serve = await LazyServe.start(temp.path, { env });
    await test({
      serve,
      fill: () => fillThinDisk(under, disk),
      relieve: () => Deno.removeSync(`${under}/ballast`),
      cached: () =>
        [...Deno.readDirSync(cache)].map(({ name }) => `${cache}/${name}`)
          .filter((path) => path.endsWith(".blob.data")),
    });
  } finally {
    unmountBelow(temp.path);
  }
}

const CACHES: readonly (readonly [FsDriver, "disk" | "overlay"])[] = [
  ...TESTED_DATA_PATHS.filter((path) => path !== "erofs-fscache").map((path) => [path, "disk"] as const),
  ["fuse", "overlay"],
];

for (const [fsDriver, on] of CACHES) {
  fuseTest(
    `chunks that the disk of the cache has lost are never zeros (${fsDriver}, ${on})`,
    () =>
      withThinServe(fsDriver, async ({ serve, fill, relieve, cached }) => {
        const files = serve.files.slice(0, FILES);
        await fill();
        const outcomes: string[] = [];
        for (const [index, path] of files.entries()) {
          outcomes.push(await serve.read(path));
          if (index % 2 === 0) drop(cached());
          else write(cached());
          drop([serve.root + path]);
          outcomes.push(await serve.read(path));
        }
        assert.deepEqual(outcomes.filter((outcome) => outcome === "wrong"), []);
        relieve();
        drop(files.map((path) => serve.root + path));
        assert.equal((await serve.readAll()).wrong, 0);
        await serve.readAll();
        await sh('sync "$@" || true', ...cached()); // it tells what was refused before
        drop(cached());
        drop(serve.files.map((path) => serve.root + path));
        assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
      }, on),
  );
}

fuseTest(
  "chunks that the disk loses while the kernel reads them are never zeros (erofs-fanotify)",
  () =>
    withThinServe("erofs-fanotify", async ({ serve, fill, relieve, cached }) => {
      await fill();
      let isRead = false;
      const losing = (async () => {
        for (; !isRead; await turn()) drop(cached());
      })();
      const wrong: string[] = [];
      for (let read = 0; read < HARD_READS; read++) {
        const path = serve.files[read % serve.files.length] as string;
        if (await serve.read(path) === "wrong") wrong.push(path);
        drop([serve.root + path]);
      }
      isRead = true;
      await losing;
      assert.deepEqual(wrong, []);
      relieve();
    }),
);

/** Data files of a cache that keeps nothing, which have no name. */
function unnamedData(pid: number): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].filter(({ name }) =>
    readProcessLink(pid, `fd/${name}`)?.endsWith(".blob.data (deleted)")
  ).map(({ name }) => `/proc/${pid}/fd/${name}`);
}

fuseTest("chunks that the disk of a cache that keeps nothing has lost are never zeros (fuse, overlay)", async () => {
  using temp = TempDir.make();
  const [under, disk, cache, mnt] = [temp.join("under"), temp.join("disk"), temp.join("cache"), temp.join("mnt")];
  for (const folder of [under, disk, cache, mnt]) Deno.mkdirSync(folder);
  const config = temp.join("config.json");
  const backend = { type: "localfs", config: { dir: `${RAFS_FIXTURES}/blobs` } };
  Deno.writeTextFileSync(
    config,
    JSON.stringify({ device: { backend, cache: { type: "dummycache" } }, mode: "direct" }),
  );
  try {
    await mountThinDisk(under, disk);
    await mountOverlay(disk, cache);
    const words = ["mount", "--fs-driver", "fuse", "--config", config, "--cache-dir", cache];
    const settings = { env: { NYDUS_GD_PREFETCH_READ_AHEAD: "0" } };
    await using server = await Server.start([...words, LAZY_IMAGE.bootstrap, mnt], /^mounted /, settings);
    await fillThinDisk(under, disk);
    const listed = readListing(LAZY_IMAGE.listing).filter(({ type, size = 0 }) => type === "reg" && size > 0);
    const wrong: string[] = [];
    for (const { path, sha256 } of [...listed.slice(0, FILES), ...listed.slice(0, FILES)]) {
      const file = mnt + decodeURIComponent(path);
      const read = await Deno.readFile(file).catch(() => undefined); // what is lost is an error, too
      if (read !== undefined && createHash("sha256").update(read).digest("hex") !== sha256) wrong.push(path);
      drop([...unnamedData(server.process.pid), file]);
    }
    assert.deepEqual(wrong, []);
  } finally {
    unmountBelow(temp.path);
  }
});

rootTest("an image for the kernel is not used if the disk does not keep it", async () => {
  using temp = TempDir.make();
  const [under, folder] = [temp.join("under"), temp.join("folder")];
  for (const each of [under, folder]) Deno.mkdirSync(each);
  try {
    await mountThinDisk(under, folder);
    await fillThinDisk(under, folder);
    const bootstrap = (await readFixtureBootstrap(LAZY_IMAGE)).slice();
    await assert.rejects(keepImage(bootstrap, `${folder}/image`), (error) => hasCode(error, "io"));
    assert.equal(await keptDevices(bootstrap, `${folder}/image`), undefined);
  } finally {
    unmountBelow(temp.path);
  }
});
