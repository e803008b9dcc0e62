/**
 * The lazy images of the layer store on a real FUSE session: references held while images are added and removed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { umount2 } from "../../ffi/sys_mount.ts";
import { LocalFsBackend } from "../../lib/backend/localfs.ts";
import { unlessAborted } from "../../lib/base/abort.ts";
import { hasCode, NydusGdError } from "../../lib/base/errors.ts";
import { BlobCache } from "../../lib/blob/blob_cache.ts";
import type { BackendCandidate } from "../../lib/image/lazy/open/choose_backend.ts";
import { ImageNumbers } from "../../lib/image/lazy/records/image_numbers.ts";
import { MountRecord } from "../../lib/image/lazy/records/mount_record.ts";
import type { LazyImageStoreOptions } from "../../lib/image/lazy/lazy_image_options.ts";
import { LazyImageStore } from "../../lib/image/lazy/lazy_image_store.ts";
import type { LazyLayer } from "../../lib/layer/lazy/lazy_images.ts";
import { ServedImage } from "../../lib/mount/fuse/served_images.ts";
import type { DataPathChoice } from "../../lib/mount/data_path.ts";
import { KernelImages } from "../../lib/mount/erofs/kernel_images.ts";
import { ImageMounts } from "../../lib/mount/image_mounts.ts";
import { QUIET } from "../support/blob/blob_setup.ts";
import { buildFrom } from "../support/rafs/built_rafs.ts";
import { fuseDescriptors, fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";
import { PASSIVE_STORE } from "../support/image/lazy_store_options.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { silentCandidate } from "../support/backend/silent_backend.ts";
import { dir, file, tarOf } from "../support/archive/tar_builder.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until, untilEqual } from "../support/until.ts";

const CONTENT = "text ".repeat(5000);
const BUILT = await buildFrom(tarOf(dir("./", { mode: 0o700, uid: 3, gid: 4 }), file("f", CONTENT)));

/**
 * Whether a Worker opens a bootstrap only while it is mapped. One that opens it on arrival of the message crashes the
 * process when the image is gone by then, and the crash hangs on the process's own mount.
 */
const opensLazily = Object.getOwnPropertyDescriptor(ServedImage.prototype, "tree")?.get !== undefined;
if (!opensLazily) console.log("skipped: images that are forgotten, FUSE Workers open bootstraps that may be gone");

/** A test in which images are forgotten while the session continues. */
function forgettingTest(name: string, fn: () => Promise<void>): void {
  if (opensLazily) fuseTest(name, fn);
  else Deno.test.ignore(name, fn);
}

/** A store and its folders; disposal checks that nothing is left. */
class Kit implements AsyncDisposable {
  /** Number of started sessions. */
  sessions = 0;

  private constructor(
    readonly temp: TempDir,
    readonly cache: BlobCache,
    readonly numbers: ImageNumbers,
    readonly store: LazyImageStore,
  ) {}

  static async make(change: Partial<LazyImageStoreOptions> = {}): Promise<Kit> {
    const temp = TempDir.make();
    for (const name of ["images", "state", "homes", "blobs"]) await Deno.mkdir(temp.join(name));
    await Deno.writeFile(temp.join("image.boot"), BUILT.bytes);
    await Deno.writeFile(temp.join(`blobs/${BUILT.blobId}`), BUILT.blob);
    const cache = BlobCache.open(temp.join("cache"), QUIET);
    const numbers = await ImageNumbers.open(temp.join("state/numbers.json"));
    const store: LazyImageStore = new LazyImageStore({
      ...PASSIVE_STORE,
      stateDir: temp.join("homes"),
      cache,
      numbers,
      record: await MountRecord.open(temp.join("state/mounted.json")),
      kernelImages: new KernelImages(temp.join("state")),
      deadlineMs: 60_000,
      startMounts: (dataPath) => kit.startMounts(dataPath),
      takeOverMounts: () => Promise.resolve(undefined),
      findMounted: () => Promise.resolve([]),
      candidates: () => Promise.resolve([kit.candidate]),
      dataPath: { fsDriver: "fuse", reason: "selected by name", named: true },
      minFree: { percent: 0 },
      ...change,
    });
    const kit: Kit = new Kit(temp, cache, numbers, store);
    return kit;
  }

  get candidate(): BackendCandidate {
    const backend = LocalFsBackend.inFolder(this.temp.join("blobs"));
    return { description: "folder", open: () => backend };
  }

  startMounts(dataPath: DataPathChoice): Promise<ImageMounts> {
    this.sessions++;
    const { temp } = this;
    const places = { mountpoint: temp.join("images"), erofsDir: temp.join("erofs"), stateDir: temp.join("state") };
    return ImageMounts.start({
      ...places,
      cacheMount: this.cache.ownMount,
      cacheDir: this.cache.stats().dir,
      dataPath,
      workers: 2,
      deadlineMs: 60_000,
    });
  }

  layer(id: string): LazyLayer {
    return { id, bootstrapPath: this.temp.join("image.boot"), home: this.temp.path };
  }

  async read(id: string): Promise<string> {
    const { path } = await this.store.acquire(this.layer(id), "holder");
    return await Deno.readTextFile(`${path}/f`);
  }

  /** Ids of the visible images. */
  async seen(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of Deno.readDir(this.temp.join("images"))) names.push(name);
    return names.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
    assert.deepEqual(mountPointsBelow(this.temp.path), []);
    await untilEqual(() => fuseDescriptors(), 0);
    assert.equal(this.cache.stats().blobs.length, 0, "every image was released");
    await this.cache.close();
    this.temp[Symbol.dispose]();
  }
}

fuseTest("concurrent requests for an image share one mount, one session and its files", async () => {
  await using kit: Kit = await Kit.make();
  const layers = ["a", "b", "a", "b", "a"].map((id) => kit.layer(id));
  const mounts = await Promise.all(layers.map((layer, k) => kit.store.acquire(layer, `holder-${k}`)));
  const [a, b] = [kit.temp.join("images/a"), kit.temp.join("images/b")];
  assert.deepEqual(mounts.map(({ path }) => path), [a, b, a, b, a]);
  assert.equal(kit.sessions, 1);
  assert.equal(await kit.read("a"), CONTENT);
  assert.deepEqual(await kit.seen(), ["a", "b"]);
  assert.match((await kit.store.describe(kit.layer("a"))).blobs ?? "", new RegExp(`^${BUILT.blobId} \\d+ bytes, \\d+`));
});

fuseTest("the structure of a bootstrap is verified, and its root's attributes are returned", async () => {
  await using kit: Kit = await Kit.make();
  assert.deepEqual(await kit.store.verify(kit.temp.join("image.boot")), { mode: 0o755, uid: 3, gid: 4 });
  await Deno.writeFile(kit.temp.join("short"), BUILT.bytes.subarray(0, 1500));
  await assert.rejects(kit.store.verify(kit.temp.join("short")), (error) => hasCode(error, "invalid-image"));
});

fuseTest("an image is refused for a user namespace that lacks an owner, or where mounts cannot be mapped", async () => {
  await using kit: Kit = await Kit.make({
    requireIdmaps: (fsDriver) => {
      throw new NydusGdError("environment", `Cannot use ${fsDriver}`);
    },
  });
  const path = kit.temp.join("image.boot");
  const of = (size: number) => ({ uids: [{ containerId: 0, hostId: 100_000, size }], gids: [] });
  await assert.rejects(kit.store.verify(path, of(65_536)), /^NydusGdError: Cannot use fuse$/);
  assert.deepEqual(await kit.store.verify(path, { uids: [], gids: [] }), { mode: 0o755, uid: 3, gid: 4 });

  await using able: Kit = await Kit.make();
  assert.deepEqual(await able.store.verify(path, of(65_536)), { mode: 0o755, uid: 3, gid: 4 });
  const message = /^Cannot use lazy image ".*": the owner 3:4 of "\/" is outside the user namespace$/;
  await assert.rejects(able.store.verify(path, of(3)), { code: "invalid-image", message });
});

fuseTest("the image for the kernel is made once, after its layer, and removed with it", async () => {
  const dataPath = { fsDriver: "erofs-fuse", reason: "selected by name", named: true } as const;
  await using kit: Kit = await Kit.make({ dataPath });
  const made = kit.temp.join("state/a.erofs");
  kit.store.prepare(kit.layer("a"));
  await until("the image for the kernel is made", () => existsSync(made));
  const { ino } = await Deno.stat(made);
  assert.equal(await kit.read("a"), CONTENT);
  assert.equal((await Deno.stat(made)).ino, ino);
  await kit.store.forget("a");
  assert.ok(!existsSync(made));
  kit.store.prepare(kit.layer("b"));
  await kit.store.forget("b");
  await kit.store[Symbol.asyncDispose]();
  assert.deepEqual([...Deno.readDirSync(kit.temp.join("state"))].filter(({ name }) => name.endsWith(".erofs")), []);
});

fuseTest("an image is mounted when its layer has arrived and its registry is known, before it is used", async () => {
  const placed = Promise.withResolvers<void>();
  await using kit: Kit = await Kit.make({ whenPlaced: () => placed.promise });
  kit.store.prepare(kit.layer("a"));
  assert.deepEqual(await kit.seen(), []);
  placed.resolve();
  await until("the image is mounted", async () => (await kit.seen()).length === 1);
  await until("its mount is reported", async () => (await kit.store.report()).images.length === 1);
  assert.equal(await kit.read("a"), CONTENT);
  assert.equal(kit.sessions, 1);
  kit.store.prepare(kit.layer("b"));
  assert.equal(await kit.read("b"), CONTENT, "both at once");
  assert.equal((await kit.seen()).length, 2);
});

fuseTest("an image without a container is unmounted after a while, and its blobs are searched again", async () => {
  let isReachable = true;
  await using kit: Kit = await Kit.make({
    candidates: () => Promise.resolve(isReachable ? [kit.candidate] : []),
    unusedMs: 100,
  });
  const mounted = async () => (await kit.store.report()).images.map(({ layer: { id } }) => id);
  for (const id of ["a", "b"]) kit.store.prepare(kit.layer(id));
  assert.equal(await kit.read("b"), CONTENT);
  await until(
    "the image is unmounted",
    async () => [...Deno.readDirSync(kit.temp.join("homes"))].length === 1 && (await mounted()).join() === "b",
  );
  isReachable = false;
  await assert.rejects(kit.read("a"), /no backend is known/);
  isReachable = true;
  assert.equal(await kit.read("a"), CONTENT);
});

fuseTest("an image is not mounted ahead if its layer is removed or no backend has it", async () => {
  const { promise: never } = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  await using kit: Kit = await Kit.make({
    whenPlaced: ({ id }, signal) => id === "a" ? unlessAborted(never, signal) : Promise.resolve(),
    candidates: ({ id }) => Promise.resolve(id === "b" ? [silentCandidate(asked.resolve)] : []),
  });
  kit.store.prepare(kit.layer("a"));
  await kit.store.forget("a");
  kit.store.prepare(kit.layer("b"));
  await asked.promise;
  await kit.store.forget("b");
  kit.store.prepare(kit.layer("c"));
  await assert.rejects(kit.read("c"), /no backend is known/);
  assert.deepEqual((await kit.store.report()).images, []);
  assert.deepEqual(await kit.seen(), []);
});

fuseTest("a session that cannot be started fails that image; the next request retries", async () => {
  let broken = true;
  await using kit: Kit = await Kit.make({
    startMounts: (dataPath) =>
      broken
        ? Promise.reject(new NydusGdError("environment", "Cannot mount: there is no /dev/fuse"))
        : kit.startMounts(dataPath),
  });
  await assert.rejects(kit.read("a"), /there is no \/dev\/fuse/);
  broken = false;
  assert.equal(await kit.read("a"), CONTENT);
});

fuseTest("an image whose blobs have no home is not mounted; the next request retries", async () => {
  let candidates: BackendCandidate[] = [];
  await using kit: Kit = await Kit.make({ candidates: () => Promise.resolve(candidates) });
  await assert.rejects(kit.read("a"), /no backend is known/);
  assert.deepEqual(await kit.seen(), []);
  candidates = [kit.candidate];
  assert.equal(await kit.read("a"), CONTENT);
});

forgettingTest("an image that cannot be recorded is unmounted again, since a successor would not know it", async () => {
  using elsewhere = TempDir.make();
  const record = await MountRecord.open(elsewhere.join("state/mounted.json"));
  await using kit: Kit = await Kit.make({ record });
  await assert.rejects(kit.read("a"), /ENOENT/);
  assert.deepEqual(await kit.seen(), []);
  await until("the image is released", () => kit.cache.stats().blobs.length === 0);
  assert.deepEqual(record.list(), []);
  await Deno.mkdir(elsewhere.join("state"));
  assert.equal(await kit.read("a"), CONTENT);
});

forgettingTest("a forgotten unused image is released, and its number is not reused", async () => {
  await using kit: Kit = await Kit.make();
  assert.equal(await kit.read("a"), CONTENT);
  assert.equal(await kit.numbers.of("a"), 1);
  await kit.store.forget("a");
  assert.deepEqual(await kit.seen(), []);
  assert.deepEqual([...Deno.readDirSync(kit.temp.join("homes"))], []);
  await until("the image is released", () => kit.cache.stats().blobs.length === 0);
  assert.equal(await kit.read("a"), CONTENT);
  assert.equal(await kit.numbers.of("a"), 2);
});

forgettingTest("a forgotten image is still served to its open files", async () => {
  await using kit: Kit = await Kit.make();
  const { path } = await kit.store.acquire(kit.layer("a"), "holder");
  const file = await Deno.open(`${path}/f`);
  await kit.store.forget("a");
  assert.deepEqual(await kit.seen(), []);
  assert.equal(await kit.read("a"), CONTENT); // the next image of that name
  assert.equal(await new Response(file.readable).text(), CONTENT); // its end closes it
});

forgettingTest("an image requested and forgotten at once is there or not, and can be requested again", async () => {
  await using kit: Kit = await Kit.make();
  for (let round = 0; round < 10; round++) {
    const asked = [kit.store.acquire(kit.layer("a"), "1"), kit.store.acquire(kit.layer("b"), "2")];
    const forgotten = [kit.store.forget("a"), kit.store.forget("a"), kit.store.forget("b")];
    await Promise.all([...asked, ...forgotten]);
    await kit.store.forget("a");
    assert.deepEqual((await kit.seen()).filter((name) => name === "a"), []);
    assert.equal(await kit.read("a"), CONTENT);
  }
});

fuseTest("an aborting caller does not affect the others", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using kit: Kit = await Kit.make({ candidates: () => promise.then(() => [kit.candidate]) });
  const gaveUp = new AbortController();
  const [one, other] = [
    kit.store.acquire(kit.layer("a"), "1", gaveUp.signal),
    kit.store.acquire(kit.layer("a"), "2"),
  ];
  gaveUp.abort();
  await assert.rejects(one, (error) => hasCode(error, "interrupted"));
  resolve();
  assert.equal((await other).path, kit.temp.join("images/a"));
});

fuseTest("a stop aborts running work, and nothing is mounted afterwards", async () => {
  const asked = Promise.withResolvers<void>();
  await using kit: Kit = await Kit.make({ candidates: () => Promise.resolve([silentCandidate(asked.resolve)]) });
  const mounting = assert.rejects(kit.read("a"), (error) => hasCode(error, "interrupted"));
  await asked.promise;
  await kit.store[Symbol.asyncDispose]();
  await mounting;
  await assert.rejects(kit.read("a"), (error) => hasCode(error, "interrupted"));
});

fuseTest("a mount that was unmounted by others is made again for the next request", async () => {
  await using _quiet = await quietLogs();
  await using kit: Kit = await Kit.make();
  assert.equal(await kit.read("a"), CONTENT);
  umount2(kit.temp.join("images"), 0);
  await until("no session is open", () => fuseDescriptors() === 0);
  await until("the blobs are released", () => kit.cache.stats().blobs.length === 0);
  assert.equal(await kit.read("a"), CONTENT);
  assert.equal(kit.sessions, 2);
});
