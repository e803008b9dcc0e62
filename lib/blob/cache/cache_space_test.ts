import assert from "node:assert/strict";
import { acquire, assertCached, ensureRows, QUIET } from "../../../tests/support/blob/blob_setup.ts";
import { ScriptedSource } from "../../../tests/support/blob/scripted_source.ts";
import { makeSyntheticBlob, type SyntheticBlob } from "../../../tests/support/blob/synthetic_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import type { Blob } from "../blob.ts";
import { BlobCache, type BlobCacheOptions } from "../blob_cache.ts";
import { BlobNames } from "./blob_names.ts";
import { blobPaths } from "./blob_paths.ts";
import { CacheFolder } from "./cache_folder.ts";
import { takeInventory } from "./cache_inventory.ts";
import { type BlobUsers, CacheSpace } from "./cache_space.ts";

const CHUNKS = 4, CHUNK_BYTES = 64 * 1024;
const ALL = [0, 1, 2, 3];
/** Room for two blobs with their records, not for three. */
const LIMITS = { maxSize: { bytes: 2.5 * CHUNKS * CHUNK_BYTES }, minFree: { bytes: 0 } };

const synthetic = (id: string) => makeSyntheticBlob({ id, sizes: Array<number>(CHUNKS).fill(CHUNK_BYTES) });

async function open(
  cache: BlobCache,
  id: string,
): Promise<{ blob: Blob; made: SyntheticBlob; source: ScriptedSource }> {
  const made = await synthetic(id);
  const source = new ScriptedSource(made.bytes);
  return { blob: acquire(cache, made, source), made, source };
}

async function ownersOf(id: string): Promise<readonly string[]> {
  const { descriptor, records } = await synthetic(id);
  return new BlobNames({ descriptor, records: () => records }).owners;
}

/** Fetches all of a blob and releases it. */
async function fill(cache: BlobCache, id: string): Promise<void> {
  const { blob, made } = await open(cache, id);
  await ensureRows(blob, made, ALL);
  await cache.release(blob);
}

/** Ids in the order of last use. */
async function idsIn(dir: string): Promise<string[]> {
  const { blobs } = await takeInventory(dir);
  return blobs.filter(({ bytes }) => bytes >= CHUNKS * CHUNK_BYTES).map(({ name }) => name);
}

/** Sets the last use of the blob to `seconds` after the others'. */
function usedAt(dir: string, id: string, seconds: number): void {
  Deno.utimeSync(blobPaths(dir, id).chunkMap, seconds, seconds);
}

async function withCache(
  test: (dir: string, reopen: (options?: Partial<BlobCacheOptions>) => BlobCache) => Promise<void>,
): Promise<void> {
  using dir = TempDir.make();
  await test(dir.path, (options = { limits: LIMITS }) => BlobCache.open(dir.path, { ...QUIET, ...options }));
}

Deno.test("the least recently used blob is evicted for another, also after a restart", () =>
  withCache(async (dir, reopen) => {
    {
      await using cache = reopen();
      await fill(cache, "a");
      await fill(cache, "b");
    }
    usedAt(dir, "a", 2000);
    usedAt(dir, "b", 1000);
    await using cache = reopen();
    await fill(cache, "c");
    assert.deepEqual((await idsIn(dir)).sort(), ["a", "c"]);
    const { blob, made, source } = await open(cache, "a");
    await ensureRows(blob, made, ALL);
    assert.equal(source.reads.length, 0);
  }));

Deno.test("a read makes a blob the most recently used", () =>
  withCache(async (dir, reopen) => {
    await using cache = reopen();
    await fill(cache, "a");
    await fill(cache, "b");
    usedAt(dir, "a", 1000);
    usedAt(dir, "b", 2000);
    await fill(cache, "a");
    await fill(cache, "c");
    assert.deepEqual((await idsIn(dir)).sort(), ["a", "c"]);
  }));

Deno.test("a blob that was used while the clock was ahead is no more recent than those used later", () =>
  withCache(async (dir, reopen) => {
    {
      await using cache = reopen();
      await fill(cache, "a");
    }
    usedAt(dir, "a", Date.now() / 1000 + 365 * 24 * 3600);
    await using cache = reopen();
    await fill(cache, "b");
    await fill(cache, "c");
    assert.deepEqual((await idsIn(dir)).sort(), ["b", "c"]);
  }));

Deno.test("a blob in use is never evicted, even above the limit, and is evictable once released", () =>
  withCache(async (dir, reopen) => {
    await using cache = reopen();
    const held = await Promise.all(["a", "b", "c"].map((id) => open(cache, id)));
    for (const { blob, made } of held) await ensureRows(blob, made, ALL);
    for (const { blob, made } of held) for (const row of ALL) await assertCached(blob, made, row);
    assert.equal((await idsIn(dir)).length, 3);
    await cache.release(held[1]?.blob as Blob);
    await cache.trim();
    assert.deepEqual((await idsIn(dir)).sort(), ["a", "c"]);
  }));

Deno.test("a discarded blob is removed, in use only after its release, and not if it is opened again", () =>
  withCache(async (dir, reopen) => {
    await using cache = reopen({});
    for (const id of ["a", "b", "c"]) await fill(cache, id);
    const { blob: b } = await open(cache, "b"), { blob: c } = await open(cache, "c");
    const owners = await Promise.all(["a", "b", "c", "never-seen"].map(ownersOf));
    await cache.discard(owners.flat());
    assert.deepEqual((await idsIn(dir)).sort(), ["b", "c"]);
    const { blob: again } = await open(cache, "c");
    for (const blob of [b, c, again]) await cache.release(blob);
    await cache.trim();
    const { blob, made, source } = await open(cache, "b");
    await ensureRows(blob, made, ALL);
    assert.notEqual(source.reads.length, 0);
    assert.deepEqual((await idsIn(dir)).sort(), ["b", "c"]);
  }));

Deno.test("a blob that was discarded while in use is known to the next servers until it is removed or wanted", () =>
  withCache(async (dir, reopen) => {
    const owners = await ownersOf("a");
    {
      await using cache = reopen();
      await fill(cache, "b");
      const { blob, made } = await open(cache, "a");
      await ensureRows(blob, made, ALL);
      await cache.discard([...owners, ...await ownersOf("b")]);
      cache.leave();
    }
    assert.deepEqual((await idsIn(dir)).sort(), ["a"]);
    {
      await using cache = reopen();
      assert.deepEqual([...cache.discardedBefore].sort(), [...owners].sort());
      await fill(cache, "b"); // a release must not remove what only an earlier server did not want
      assert.deepEqual((await idsIn(dir)).sort(), ["a", "b"]);
    }
    {
      await using cache = reopen();
      await cache.discard(cache.discardedBefore);
      assert.deepEqual(await idsIn(dir), ["b"]);
      await fill(cache, "a");
    }
    {
      await using cache = reopen();
      assert.deepEqual(cache.discardedBefore, []);
      const { blob, made } = await open(cache, "a");
      await ensureRows(blob, made, ALL);
      await cache.discard(owners);
      cache.leave();
    }
    {
      await using cache = reopen();
      await fill(cache, "a"); // wanted again
    }
    await Deno.writeTextFile(`${dir}/.nydus-gd.unwanted`, "{");
    await using cache = reopen();
    assert.deepEqual(cache.discardedBefore, []);
    assert.deepEqual((await idsIn(dir)).sort(), ["a", "b"]);
  }));

Deno.test("an owner is forgotten with its removed blob: a later blob of that name is kept", async () => {
  using dir = TempDir.make();
  using folder = CacheFolder.open(dir.path);
  const inUse = new Set(["b"]);
  const users: BlobUsers = {
    isInUse: (name) => inUse.has(name),
    namesInUse: () => inUse,
    whileUnused: async (name, task) => {
      if (inUse.has(name)) return false;
      await task();
      return true;
    },
  };
  const space = new CacheSpace(folder, undefined, users, (id) => [id], () => {});
  const write = (name: string) => Deno.writeTextFileSync(blobPaths(dir.path, name).data, "x");
  const names = () => [...folder.blobNames()].sort();
  for (const name of ["a", "b"]) write(name);
  await space.discard(["a", "b", "never-seen"]);
  assert.deepEqual(names(), ["b"]);
  write("a");
  await space.released("a");
  assert.deepEqual(names(), ["a", "b"]);
  inUse.delete("b");
  await space.released("b");
  assert.deepEqual(names(), ["a"]);
  write("b");
  await space.released("b");
  assert.deepEqual(names(), ["a", "b"]);
});

Deno.test("a blob released while space is being made for another is evicted, at any moment", async () => {
  const half = 256 * 1024;
  for (const moment of ["while it is looked for", "when nothing was found", "before it is written"] as const) {
    using dir = TempDir.make();
    using folder = CacheFolder.open(dir.path);
    Deno.writeFileSync(blobPaths(dir.path, "a").data, new Uint8Array(half + 65_536));
    let isUsed = true, released: Promise<void> | undefined;
    const release = () => {
      isUsed = false;
      released = space.released("a");
    };
    const users: BlobUsers = {
      isInUse: (name) => {
        const was = name === "b" || isUsed;
        if (isUsed && moment === "while it is looked for") release();
        return was;
      },
      namesInUse: () => [],
      whileUnused: async (name, task) => {
        if (name === "b" || isUsed) return false;
        await task();
        return true;
      },
    };
    const limits = { maxSize: { bytes: 2 * half }, minFree: { bytes: 0 } };
    const space = new CacheSpace(folder, limits, users, (id) => [id], () => {
      if (moment === "when nothing was found") release();
    });
    const write = async () => {
      if (moment === "before it is written") release();
      await Deno.writeFile(blobPaths(dir.path, "b").data, new Uint8Array(half));
    };
    await space.room(half, write);
    await released;
    assert.deepEqual([...folder.blobNames()], ["b"], moment);
  }
});

/** Sizes of the blobs below: much more than a write's allowance for records, and than the headroom of an eviction. */
const UNIT_BYTES = 1024 * 1024;

/** A cache limited to 10 units whose blobs and their users are the test's. */
class ScriptedSpace implements Disposable {
  readonly #dir = TempDir.make();
  readonly folder = CacheFolder.open(this.#dir.path);
  readonly inUse = new Set<string>();
  /** How often the space was counted and nothing was found to evict. */
  full = 0;
  /** How often it was examined whether a blob may be evicted. */
  examined = 0;
  readonly space: CacheSpace;

  constructor() {
    const users: BlobUsers = {
      isInUse: (name) => {
        this.examined++;
        return this.inUse.has(name);
      },
      namesInUse: () => this.inUse,
      whileUnused: async (name, task) => {
        if (this.inUse.has(name)) return false;
        await task();
        return true;
      },
    };
    const limits = { maxSize: { bytes: 10 * UNIT_BYTES }, minFree: { bytes: 0 } };
    this.space = new CacheSpace(this.folder, limits, users, (id) => [id], () => this.full++);
  }

  /** Writes a blob, past the limits. */
  put(name: string, units: number, use: "used" | "unused"): void {
    if (use === "used") this.inUse.add(name);
    Deno.writeFileSync(blobPaths(this.#dir.path, name).data, new Uint8Array(units * UNIT_BYTES));
  }

  get names(): string[] {
    return [...this.folder.blobNames()].sort();
  }

  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
    this.#dir[Symbol.dispose]();
  }
}

Deno.test("what is written while the cache is counted is not forgotten: it may have been missed", async () => {
  using cache = new ScriptedSpace();
  cache.put("old", 4, "unused");
  cache.put("b", 4, "used");
  const started = Promise.withResolvers<void>(), finish = Promise.withResolvers<void>();
  const missed = cache.space.room(1.5 * UNIT_BYTES, async () => {
    started.resolve();
    await finish.promise;
  });
  await started.promise;
  const next = cache.space.room(UNIT_BYTES, () => Promise.resolve()); // 10.5 units with the pending ones: counts
  for (let i = 0; i < 100; i++) await Promise.resolve(); // it starts to count, which takes turns of the event loop
  finish.resolve();
  await Promise.all([missed, next]);
  assert.deepEqual(
    [cache.names, cache.full],
    [["b"], 0],
    "8 units in the folder, 1.5 written meanwhile, 1 to be written",
  );
  cache.put("missed", 1.5, "used");
  cache.put("next", 1, "used");
  await cache.space.room(3.7 * UNIT_BYTES, () => Promise.resolve());
  assert.equal(cache.full, 1, "6.5 units in the folder, 3.7 to be written");
});

Deno.test("a cache full of blobs in use is not searched for every write, but again once one is released", async () => {
  using cache = new ScriptedSpace();
  cache.put("a", 6, "used");
  cache.put("b", 6, "used");
  const write = () => cache.space.room(UNIT_BYTES, () => Promise.resolve("written"));
  assert.equal(await write(), "written");
  assert.deepEqual([cache.full, cache.space.isExhausted, cache.names], [1, true, ["a", "b"]]);
  const { examined } = cache;
  assert.equal(await write(), "written");
  assert.deepEqual([cache.full, cache.examined], [1, examined], "it was searched again, with nothing released");
  cache.inUse.delete("a");
  await cache.space.released("a");
  assert.deepEqual([cache.full, cache.space.isExhausted, cache.names], [1, false, ["b"]]);
  const found = cache.examined;
  assert.equal(await write(), "written");
  assert.deepEqual([cache.full, cache.examined], [1, found], "it was searched although there is room");
});

Deno.test("a write is done even if no room can be made for it", async () => {
  using cache = new ScriptedSpace();
  const aside = `${cache.folder.path}.aside`;
  Deno.renameSync(cache.folder.path, aside); // it cannot be counted
  try {
    assert.equal(await cache.space.room(UNIT_BYTES, () => Promise.resolve("written")), "written");
  } finally {
    Deno.renameSync(aside, cache.folder.path);
  }
  assert.deepEqual([cache.space.isExhausted, cache.full], [true, 0]);
  await cache.space.discard([]);
  assert.equal(cache.space.isExhausted, false, "what is discarded may make room");
});

Deno.test("collecting removes unwanted and leftover files, reports them, and ignores other files", () =>
  withCache(async (dir, reopen) => {
    await using cache = reopen({});
    for (const id of ["a", "b", "c"]) await fill(cache, id);
    const left = ["x.blob.meta.tmp", "a.blob.data.set-aside"], others = ["notes.txt", "a.blob.toc", "a b.blob.data"];
    for (const name of [...left, ...others]) await Deno.writeTextFile(`${dir}/${name}`, "x");
    await Deno.writeTextFile(blobPaths(dir, "a").doubtfulMeta, "x");
    const { blob } = await open(cache, "b");
    const wanted = await ownersOf("c");
    const options = { isWanted: (owner: string) => wanted.includes(owner) };
    const before = await cache.collect({ ...options, dryRun: true });
    assert.equal((await idsIn(dir)).length, 3);
    const done = await cache.collect({ ...options, dryRun: false });
    assert.deepEqual(done, before);
    assert.deepEqual(done.unwanted.map(({ name }) => name), ["a"]);
    assert.deepEqual(done.leftOvers.map(({ path }) => path).sort(), left.map((name) => `${dir}/${name}`).sort());
    assert.deepEqual((await idsIn(dir)).sort(), ["b", "c"]);
    for (const name of others) assert.ok(Deno.statSync(`${dir}/${name}`).isFile);
    assert.throws(() => Deno.statSync(blobPaths(dir, "a").doubtfulMeta), Deno.errors.NotFound);
    assert.deepEqual((await cache.collect({ isWanted: () => true, dryRun: false })).leftOvers, []);
    await cache.release(blob);
  }));

Deno.test("a kill during the removal of a blob leaves no trusted but wrong data", () =>
  withCache(async (dir, reopen) => {
    const paths = blobPaths(dir, "a");
    const inOrder = [paths.verified, paths.chunkMap, paths.data, paths.meta];
    for (let killedAfter = 0; killedAfter <= inOrder.length; killedAfter++) {
      {
        await using cache = reopen();
        await fill(cache, "a");
      }
      for (const path of inOrder.slice(0, killedAfter)) {
        if (path !== paths.meta) Deno.removeSync(path); // v5 has none
      }
      await using cache = reopen();
      const { blob, made } = await open(cache, "a");
      await ensureRows(blob, made, ALL);
      for (const row of ALL) await assertCached(blob, made, row);
    }
  }));

Deno.test("nothing is removed after the cache was left to a successor", () =>
  withCache(async (dir, reopen) => {
    await using cache = reopen({ limits: { ...LIMITS, maxSize: { bytes: 1 } } });
    const { blob, made } = await open(cache, "a");
    await ensureRows(blob, made, ALL);
    cache.leave();
    await cache.release(blob);
    await cache.discard(await ownersOf("a"));
    await cache.trim();
    assert.deepEqual(await idsIn(dir), ["a"]);
  }));
