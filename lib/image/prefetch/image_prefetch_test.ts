import assert from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { MountableFixture } from "../../../tests/support/mount/mountable_fixture.ts";
import { fixtureOf } from "../../../tests/support/rafs/rafs_fixtures.ts";
import { until } from "../../../tests/support/until.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { NydusGdError } from "../../base/errors.ts";
import { S } from "../../../ffi/sys_stat.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";
import { walkTree } from "../../rafs/walk.ts";
import { ImagePrefetch, type ImagePrefetchOptions } from "./image_prefetch.ts";
import { rangesOf } from "./prefetch_ranges.ts";
import type { BlobRange } from "./read_coverage.ts";

const fixture = fixtureOf("v6-none-sha256-4k");
/** Has a prefetch list. */
const listingFixture = fixtureOf("v6-prefetch-fs");

const ALL: ImagePrefetchOptions = {
  scope: "all",
  whenQuiet: () => Promise.resolve(),
  hasRoom: () => true,
  learnedUrgency: "read-ahead",
};

/** Chunks that files consist of, as `blob/chunk`. */
function chunksOfFiles({ image: { tree } }: MountableFixture, roots: readonly number[] = [tree.rootIno]): Set<string> {
  const chunks = new Set<string>();
  for (const root of roots) {
    for (const { ino, attr } of walkTree(tree, root)) {
      if ((attr.mode & S.IFMT) !== S.IFREG) continue;
      for (const { blobIndex, chunkIndex } of tree.extents(ino, 0, attr.size)) chunks.add(`${blobIndex}/${chunkIndex}`);
    }
  }
  return chunks;
}

function fetchedOf({ stores }: MountableFixture): Set<string> {
  return new Set(stores.flatMap((store, index) => store.fetched.map((chunk) => `${index}/${chunk}`)));
}

Deno.test("every chunk of every file is fetched, and adjacent ranges are joined", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const expected = chunksOfFiles(mountable);
  assert.ok(expected.size > 10);
  assert.ok([...rangesOf(mountable.image, [mountable.image.tree.rootIno])].length < expected.size);
  const run = ImagePrefetch.start(mountable.image, ALL);
  assert.equal(run.status.state, "running");
  await run.ended;
  assert.deepEqual(fetchedOf(mountable), expected);
  assert.equal(run.status.state, "complete");
  assert.equal(run.status.failures, 0);
});

Deno.test("the beginning of the prefetch list is fetched before a container uses the image, the rest afterwards", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(listingFixture, temp.path);
  const { tree } = mountable.image;
  assert.ok(tree.prefetch.length > 0);
  const used = Promise.withResolvers<void>();
  const run = ImagePrefetch.start(mountable.image, { ...ALL, used: used.promise });
  await until("it waits", () => run.status.state === "waiting");
  assert.ok(!run.isEnded);
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable, tree.prefetch));
  used.resolve();
  await run.ended;
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable));
  assert.equal(run.status.state, "complete");
});

Deno.test("a prefetch that waits for a container can be stopped", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const { promise: used } = Promise.withResolvers<void>();
  const run = ImagePrefetch.start(mountable.image, { ...ALL, used });
  await until("it waits", () => run.status.state === "waiting");
  await run.stop();
  assert.equal(run.status.state, "stopped");
});

Deno.test("chunks that cannot be fetched are skipped and counted", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const failing = new NydusGdError("unavailable", "Cannot fetch: registry is down");
  mountable.control.beforeFetch = (_blob, chunk) => {
    if (chunk === 0) throw failing;
  };
  const run = ImagePrefetch.start(mountable.image, ALL);
  await run.ended;
  assert.equal(run.status.state, "incomplete");
  assert.ok(run.status.failures > 0, "each piece that needs the chunk counts");
});

Deno.test("a stopped prefetch uses nothing of the image after stop() has resolved", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const entered = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  mountable.control.beforeFetch = async () => {
    entered.resolve();
    await gate.promise;
  };
  const run = ImagePrefetch.start(mountable.image, ALL);
  await entered.promise;
  const stopped = run.stop();
  gate.resolve();
  await stopped;
  assert.equal(run.status.state, "stopped");
  const { size } = fetchedOf(mountable);
  assert.ok(size < chunksOfFiles(mountable).size);
});

Deno.test("the prefetch list of the image is fetched first, and alone if only that is requested", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(listingFixture, temp.path);
  const { tree } = mountable.image;
  const listed = chunksOfFiles(mountable, tree.prefetch);
  assert.ok(listed.size > 0 && listed.size < chunksOfFiles(mountable).size);
  const first = ImagePrefetch.start(mountable.image, { ...ALL, scope: "listed" });
  await first.ended;
  assert.equal(first.status.state, "complete");
  assert.deepEqual(fetchedOf(mountable), listed);
});

Deno.test("the rest waits until readers are quiet, the prefetch list does not", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(listingFixture, temp.path);
  const asked = Promise.withResolvers<void>(), quiet = Promise.withResolvers<void>();
  const whenQuiet = () => {
    asked.resolve();
    return quiet.promise;
  };
  const run = ImagePrefetch.start(mountable.image, { ...ALL, whenQuiet });
  await asked.promise;
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable, mountable.image.tree.prefetch));
  quiet.resolve();
  await run.ended;
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable));
});

Deno.test("prefetching stops when the disk is nearly full", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  let room = 2;
  const run = ImagePrefetch.start(mountable.image, { ...ALL, hasRoom: () => room-- > 0 });
  await run.ended;
  assert.equal(run.status.state, "incomplete");
  assert.ok(fetchedOf(mountable).size < chunksOfFiles(mountable).size);
});

Deno.test("learned reads are fetched first and in order, then the prefetch list, then the rest", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(listingFixture, temp.path);
  const { tree, blobs } = mountable.image;
  const listed = chunksOfFiles(mountable, tree.prefetch);
  const places: Extent[] = [];
  for (const { ino, attr } of walkTree(tree, tree.rootIno)) {
    if ((attr.mode & S.IFMT) === S.IFREG && attr.size > 0) places.push(...tree.extents(ino, 0, 1));
  }
  const unlisted = places.filter(({ blobIndex, chunkIndex }) => !listed.has(`${blobIndex}/${chunkIndex}`));
  const wanted = [unlisted[7], unlisted[2], unlisted[5]].filter((place) => place !== undefined);
  const reads = wanted.map(({ blobIndex, blobOffset }) => ({ blobIndex, offset: blobOffset, length: 1 }));
  const elsewhere = { blobIndex: 99, offset: 0, length: 5 };
  const recorder = { isFollowing: true, learned: () => Promise.resolve([elsewhere, ...reads]) };
  const run = ImagePrefetch.start({ name: "x", tree, blobs: mountable.stores, recorder }, ALL);
  await run.ended;
  assert.equal(run.status.state, "complete");
  assert.equal(blobs.length, 1);
  const order = mountable.stores[0]?.fetched.map((chunk) => `0/${chunk}`) ?? [];
  assert.deepEqual(order.slice(0, 3), wanted.map(({ chunkIndex }) => `0/${chunkIndex}`));
  assert.deepEqual(new Set(order.slice(3, 3 + listed.size)), listed);
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable));
});

Deno.test("if the learned reads cannot be loaded, the rest is fetched all the same", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const recorder = { isFollowing: true, learned: () => Promise.reject(new Error("disk is gone")) };
  const run = ImagePrefetch.start({ ...mountable.image, recorder, blobs: mountable.stores }, ALL);
  await run.ended;
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable));
});

Deno.test("learned reads are fetched as read-ahead while readers follow them, then as prefetch", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const urgencies: string[] = [];
  const blobs = mountable.stores.map((store) => ({
    id: store.id,
    ensure(offset: number, length: number, urgency: string) {
      urgencies.push(urgency);
      if (urgencies.length === 2) recorder.isFollowing = false;
      return store.ensure(offset, length);
    },
  }));
  const reads = [0, 1, 2, 3].map((i) => ({ blobIndex: 0, offset: i * 4096, length: 1 }));
  const recorder = { isFollowing: true, learned: () => Promise.resolve(reads) };
  const run = ImagePrefetch.start({ name: "x", tree: mountable.image.tree, blobs, recorder }, {
    ...ALL,
    scope: "listed",
  });
  await run.ended;
  assert.deepEqual(urgencies, ["read-ahead", "read-ahead", "prefetch", "prefetch"]);
});

/** The image, as if it listed these inodes. */
function listing(tree: Bootstrap, prefetch: readonly number[]): Bootstrap {
  return new Proxy(tree, {
    get(_, name) {
      if (name === "prefetch") return prefetch;
      const value = Reflect.get(tree, name, tree);
      return typeof value === "function" ? value.bind(tree) : value;
    },
  });
}

/** Prefetches an image that no container was started of before; returns the ranges that were fetched as read-ahead. */
async function readAheadOf({ stores }: MountableFixture, tree: Bootstrap) {
  const ranges: { readonly blobIndex: number; readonly offset: number; readonly end: number }[] = [];
  const blobs = stores.map((store, blobIndex) => ({
    id: store.id,
    ensure(offset: number, length: number, urgency: string) {
      if (urgency === "read-ahead") ranges.push({ blobIndex, offset, end: offset + length });
      return store.ensure(offset, length);
    },
  }));
  const recorder = { isFollowing: true, learned: (listed = (): BlobRange[] => []) => Promise.resolve(listed()) };
  await ImagePrefetch.start({ name: "x", tree, blobs, recorder }, ALL).ended;
  return ranges;
}

Deno.test("before the first start, readers are expected to read the files that the image lists", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const { tree } = mountable.image;
  const files: { readonly ino: number; readonly size: number }[] = [];
  for (const { ino, attr: { mode, size } } of walkTree(tree, tree.rootIno)) {
    if ((mode & S.IFMT) === S.IFREG && size > 0 && files.length < 3) files.push({ ino, size });
  }
  const ranges = await readAheadOf(mountable, listing(tree, files.map(({ ino }) => ino).toReversed()));
  const extents = files.flatMap(({ ino, size }) => tree.extents(ino, 0, size));
  assert.ok(extents.length >= 3);
  for (const { blobIndex, blobOffset, length } of extents) {
    const isWithin = (range: typeof ranges[number]) =>
      range.blobIndex === blobIndex && range.offset <= blobOffset && blobOffset + length <= range.end;
    assert.ok(ranges.some(isWithin), `${blobIndex}/${blobOffset}`);
  }
  assert.deepEqual(ranges, ranges.toSorted((a, b) => a.blobIndex - b.blobIndex || a.offset - b.offset));
});

Deno.test("nobody is expected to read all of a folder that the image lists", async () => {
  using temp = TempDir.make();
  using mountable = await MountableFixture.open(fixture, temp.path);
  const { tree } = mountable.image;
  assert.deepEqual(await readAheadOf(mountable, listing(tree, [tree.rootIno])), []);
  assert.deepEqual(fetchedOf(mountable), chunksOfFiles(mountable));
});
