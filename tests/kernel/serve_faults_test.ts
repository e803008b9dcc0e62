/**
 * A `serve` whose disk is full, read-only, out of inodes or removed, whose registry fails for a while, or that is out of
 * descriptors or stopped: readers get an error or wait, never a wrong byte, and it recovers without a restart when the
 * cause is gone.
 *
 * @module
 */
import assert from "node:assert/strict";
import { O, open } from "../../ffi/fcntl.ts";
import { ioctl } from "../../ffi/sys_ioctl.ts";
import { mount } from "../../ffi/sys_mount.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { TESTED_DATA_PATHS } from "../support/mount/data_paths.ts";
import { untilIdle } from "../support/process/idle_process.ts";
import { backendOf, LazyServe, startLazyRegistry } from "../support/serve/lazy_serve.ts";
import { sh } from "../support/process/shell.ts";
import { TempDir } from "../support/temp_dir.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { until } from "../support/until.ts";

/** By FUSE an image can be mounted where no cache file can be created. */
const BY_FUSE = { NYDUS_GD_MOUNT_FS_DRIVER: "fuse" };
/** fs/ext4/ext4.h */
const EXT4_IOC_SHUTDOWN = 0x8004587dn;
const EXT4_GOING_FLAGS_NOLOGFLUSH = new Uint8Array([2, 0, 0, 0]);
/** Failures come soon. */
const LIMITS = { NYDUS_GD_FETCH_RETRIES: "1" };

interface Parts {
  readonly serve: LazyServe;
  /** Folder of the cache, on its own file system. */
  readonly cache: string;
}

/** Runs `test` with the cache on a tmpfs with these options. */
async function onTmpfs(
  options: string,
  test: (parts: Parts) => Promise<void>,
  { env = {}, beforeImage }: { env?: Readonly<Record<string, string>>; beforeImage?: (cache: string) => void } = {},
): Promise<void> {
  using temp = TempDir.make();
  const cache = temp.join("cache");
  Deno.mkdirSync(cache);
  mount("tmpfs", cache, "tmpfs", 0, options);
  try {
    await using serve = await LazyServe.start(temp.path, {
      env: { ...LIMITS, ...env, NYDUS_GD_CACHE_DIR: cache },
      beforeImage: () => beforeImage?.(cache),
    });
    await test({ serve, cache });
  } finally {
    unmountBelow(temp.path);
  }
}

/** Runs `test` with the cache on an ext4 of 4 MiB. */
async function onExt4(
  test: (parts: Parts) => Promise<void>,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  using temp = TempDir.make();
  const cache = temp.join("cache");
  Deno.mkdirSync(cache);
  await sh(
    'truncate -s 4M "$1"; mkfs.ext4 -q -N 64 -O ^has_journal "$1"; mount -o loop,errors=remount-ro "$1" "$2"',
    temp.join("disk"),
    cache,
  );
  try {
    await using serve = await LazyServe.start(temp.path, { env: { ...LIMITS, ...env, NYDUS_GD_CACHE_DIR: cache } });
    await test({ serve, cache });
  } finally {
    unmountBelow(temp.path);
  }
}

/** Has the kernel refuse everything in this ext4 from now on, as after an error that it cannot survive. */
function shutDown(folder: string): void {
  using root = open(folder, O.RDONLY | O.DIRECTORY);
  ioctl(root, EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH);
}

/** Fills a file system to the last byte. */
async function fill(folder: string): Promise<void> {
  await sh('dd if=/dev/zero of="$1/ballast" bs=4k 2>/dev/null || true', folder);
}

/** Asserts that no read returned wrong bytes. */
function assertNoneWrong(count: Record<string, number>): void {
  assert.equal(count["wrong"], 0, JSON.stringify(count));
}

for (
  const [name, on] of [["tmpfs", (test: (parts: Parts) => Promise<void>) => onTmpfs("size=2m", test)], [
    "ext4",
    onExt4,
  ]] as const
) {
  fuseTest(
    `a cache whose ${name} is full yields errors, and recovers when there is space`,
    () =>
      on(async ({ serve, cache }) => {
        assert.equal(await serve.read(serve.files[0] ?? ""), "right");
        await fill(cache);
        const full = await serve.readAll();
        assertNoneWrong(full);
        assert.ok(full.error > 0, JSON.stringify(full));
        assert.equal(await serve.read(serve.files[0] ?? ""), "right");
        Deno.removeSync(`${cache}/ballast`);
        assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
      }),
  );
}

/** Creates files until the file system has no inode left. */
function takeInodes(folder: string): void {
  for (let i = 0;; i++) {
    try {
      Deno.writeFileSync(`${folder}/ballast-${i}`, new Uint8Array());
    } catch (error) {
      assert.match(String(error), /os error 28/);
      return;
    }
  }
}

fuseTest(
  "a cache on a file system without free inodes yields errors, and recovers",
  () =>
    onTmpfs("size=8m,nr_inodes=16", async ({ serve, cache }) => {
      const full = await serve.readAll(0, 3);
      assert.deepEqual(full, { right: 0, wrong: 0, error: 3 });
      await sh('rm "$1"/ballast-*', cache);
      assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
    }, { env: BY_FUSE, beforeImage: takeInodes }),
);

fuseTest(
  "a cache whose disk fails and turns read-only yields errors, and the server keeps running",
  () =>
    onExt4(async ({ serve, cache }) => {
      const device = await sh('basename "$(findmnt -no SOURCE "$1")"', cache);
      Deno.writeTextFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, "1");
      assert.deepEqual(await serve.readAll(0, 3), { right: 0, wrong: 0, error: 3 });
      assert.deepEqual(await serve.driver.call("GraphDriver.Exists", { ID: "box" }), { Exists: true });
    }),
);

for (const path of TESTED_DATA_PATHS) {
  fuseTest(
    `a cache whose file system has shut down yields errors, never a hang (${path})`,
    () =>
      onExt4(async ({ serve, cache }) => {
        shutDown(cache);
        assert.deepEqual(await serve.readAll(0, 3), { right: 0, wrong: 0, error: 3 });
        assert.deepEqual(await serve.readAll(0, 3), { right: 0, wrong: 0, error: 3 });
        assert.deepEqual(await serve.driver.call("GraphDriver.Exists", { ID: "box" }), { Exists: true });
      }, { NYDUS_GD_MOUNT_FS_DRIVER: path }),
  );
}

/** Drops the kernel's cache of the image's files, so that reads reach the server. */
async function dropPageCache(serve: LazyServe): Promise<void> {
  await sh(
    'for f; do dd if="$f" iflag=nocache count=0 status=none; done',
    ...serve.files.map((path) => serve.root + path),
  );
}

/** A `serve` with its cache below its root. */
async function withServe(test: (serve: LazyServe, cache: string) => Promise<void>): Promise<void> {
  using temp = TempDir.make();
  try {
    await using serve = await LazyServe.start(temp.path, { env: LIMITS });
    await test(serve, temp.join("root/cache"));
  } finally {
    unmountBelow(temp.path);
  }
}

fuseTest(
  "deleting the cache folder of a mounted image costs only disk space",
  () =>
    withServe(async (serve, cache) => {
      const half = serve.files.length >> 1;
      assert.equal((await serve.readAll(0, half)).right, half);
      Deno.removeSync(cache, { recursive: true });
      await dropPageCache(serve);
      assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
    }),
);

for (const path of TESTED_DATA_PATHS) {
  fuseTest(
    `a container reads on or can be started anew after the cache was deleted while no server ran (${path})`,
    async () => {
      using temp = TempDir.make();
      try {
        const env = { ...LIMITS, NYDUS_GD_MOUNT_FS_DRIVER: path, NYDUS_GD_PREFETCH_READ_AHEAD: "0" };
        await using serve = await LazyServe.start(temp.path, { env });
        assert.equal((await serve.readAll(0, 10)).right, 10);
        await serve.driver.kill();
        Deno.removeSync(temp.join("root/cache"), { recursive: true });
        await serve.driver.restart();
        await dropPageCache(serve);
        assertNoneWrong(await serve.readAll());
        await serve.driver.call("GraphDriver.Put", { ID: "box" });
        await serve.driver.call("GraphDriver.Get", { ID: "box" });
        assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
      } finally {
        unmountBelow(temp.path);
      }
    },
  );
}

fuseTest(
  "truncating or replacing cache files of a mounted image shows no wrong byte",
  () =>
    withServe(async (serve, cache) => {
      const half = serve.files.length >> 1;
      assert.equal((await serve.readAll(0, half)).right, half);
      for (const { name } of [...Deno.readDirSync(cache)]) {
        if (name.endsWith(".blob.data")) Deno.truncateSync(`${cache}/${name}`, 8192);
      }
      await dropPageCache(serve);
      assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
      for (const { name } of [...Deno.readDirSync(cache)]) {
        if (!name.startsWith(".")) Deno.writeFileSync(`${cache}/${name}.new`, new Uint8Array(1 << 20).fill(0x5a));
      }
      await sh('cd "$1"; for f in *.new; do mv "$f" "${f%.new}"; done', cache);
      await dropPageCache(serve);
      assertNoneWrong(await serve.readAll());
      // a new mount verifies everything that is there
      await serve.driver.call("GraphDriver.Put", { ID: "box" });
      await serve.driver.stop();
      await serve.driver.restart();
      await serve.driver.call("GraphDriver.Get", { ID: "box" });
      assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
    }),
);

/** Runs `task` while a process gets no descriptor with a number from `limit` on. */
async function whileLimited(pid: number, limit: number, task: () => Promise<unknown>): Promise<void> {
  const limits = await sh('prlimit --nofile --noheadings --output SOFT,HARD --pid "$1"', `${pid}`);
  const [soft = "", hard = ""] = limits.split(/\s+/);
  const setTo = (most: string) => sh('prlimit --pid "$1" --nofile="$2:$3"', `${pid}`, most, hard);
  await untilIdle(pid); // a thread that is being started needs descriptors, or the runtime ends the program
  await setTo(`${limit}`);
  try {
    await task();
  } finally {
    await setTo(soft);
  }
}

fuseTest("a server without free descriptors yields errors, and recovers", () =>
  withServe(async (serve) => {
    // the three descriptors that always exist: any further one is refused
    await whileLimited(serve.driver.pid, 3, async () => {
      assert.deepEqual(await serve.readAll(0, 3), { right: 0, wrong: 0, error: 3 });
      const refused = await Promise.allSettled(
        ["a", "b", "c"].map((ID) => serve.driver.call("GraphDriver.Create", { ID }, AbortSignal.timeout(2_000))),
      );
      assert.ok(refused.some(({ status }) => status === "rejected"));
    });
    assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
    await serve.driver.call("GraphDriver.Create", { ID: "after", Parent: "box" });
  }));

fuseTest(
  "nothing is left of layers that could not be created without free descriptors",
  () =>
    withServe(async (serve) => {
      const { pid } = serve.driver;
      const used = new Set([...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => Number(name)));
      const unused = Array.from({ length: 1_000 }, (_, fd) => fd).filter((fd) => !used.has(fd));
      for (let more = 4; more < 16; more++) {
        const ids = Array.from({ length: 4 }, (_, i) => `few${more}-${i}`);
        const create = (ID: string) =>
          serve.driver.call("GraphDriver.Create", { ID, Parent: "image" }, AbortSignal.timeout(2_000));
        await whileLimited(pid, unused[more] as number, () => Promise.allSettled(ids.map(create)));
        await until("it listens again", () =>
          // without descriptors it could not accept connections
          serve.driver.call("GraphDriver.Exists", { ID: "image" }).then(() => true, () => false));
        for (const ID of ids) await serve.driver.call("GraphDriver.Remove", { ID });
      }
      await serve.driver.call("GraphDriver.Create", { ID: "after", Parent: "image" });
      const home = serve.root.replace(/\/box\/merged$/, "");
      const namesIn = (folder: string) => [...Deno.readDirSync(`${home}/${folder}`)].map(({ name }) => name).sort();
      assert.deepEqual([namesIn(".making"), namesIn(".removing"), namesIn("l").length], [[], [], 3]);
      assert.deepEqual(namesIn("").filter((name) => !name.startsWith(".")), ["after", "box", "image", "l"]);
    }),
);

fuseTest(
  "readers of a SIGSTOPped server wait, and are answered when it continues",
  () =>
    withServe(async (serve) => {
      const { pid } = serve.driver;
      assert.equal(await serve.read(serve.files[0] ?? ""), "right");
      Deno.kill(pid, "SIGSTOP");
      await sh('until grep -q "^State:.T" "/proc/$1/status"; do :; done', `${pid}`);
      const answered: unknown[] = [];
      const reading = [1, 2, 3].map((i) => serve.read(serve.files[i] ?? ""));
      const call = serve.driver.call("GraphDriver.Exists", { ID: "box" });
      for (const waiting of [...reading, call]) waiting.then((answer) => answered.push(answer));
      for (let starts = 0; starts < 3; starts++) await sh("true"); // a server that runs would answer meanwhile
      assert.deepEqual(answered, []);
      Deno.kill(pid, "SIGCONT");
      assert.deepEqual(await Promise.all(reading), ["right", "right", "right"]);
      assert.deepEqual(await call, { Exists: true });
      assert.deepEqual(await serve.readAll(), { right: serve.files.length, wrong: 0, error: 0 });
    }),
);

for (const path of TESTED_DATA_PATHS) {
  fuseTest(`a read outlasts a registry that fails for a while (${path})`, async () => {
    using temp = TempDir.make();
    await using registry = await startLazyRegistry();
    // without retries of its own, each request of a read fails at once
    const env = { NYDUS_GD_MOUNT_FS_DRIVER: path, NYDUS_GD_FETCH_RETRIES: "0", NYDUS_GD_PREFETCH_READ_AHEAD: "0" };
    await using serve = await LazyServe.start(temp.path, { env, backend: backendOf(registry) });
    const [first = "", second = ""] = serve.files.filter((file) => file.startsWith("/lib/mod"));
    assert.equal(await serve.read(first), "right");
    registry.faults.push({ kind: "truncate", keep: 10 }, { kind: "status", status: 502 }, {
      kind: "status",
      status: 503,
    });
    assert.equal(await serve.read(second), "right");
    assert.equal(registry.faults.length, 0);
  });
}
