/**
 * EROFS on watched files: when data cannot be fetched, when all data are cached, and on shutdown.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fanotifyInit } from "../../ffi/fanotify.ts";
import { memfdCreate } from "../../ffi/sys_mman.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { EventFile } from "../../lib/mount/fanotify/event_file.ts";
import { FanotifyImages } from "../../lib/mount/fanotify/fanotify_images.ts";
import { fanotifyKeeperPath, Keeper } from "../../lib/mount/keeper/keeper.ts";
import { UnmountWatch } from "../../lib/mount/unmount/unmount_watch.ts";
import { fuseTest } from "../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";
import { probe, Prober } from "../support/mount/fs_probe.ts";
import { MountableSynthetic } from "../support/mount/mountable_synthetic.ts";
import { CHUNK, CHUNKS, MountedSynthetic, pattern, readOf } from "../support/mount/mounted_synthetic.ts";
import { TestMounts } from "../support/mount/mounts_kit.ts";
import { TempDir } from "../support/temp_dir.ts";
import { PATIENCE_MS, until, untilEqual } from "../support/until.ts";

const PATH = "erofs-fanotify";

/** Files watched by fanotify groups of this process. */
function watchedFiles(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fdinfo")) {
    try {
      count += Deno.readTextFileSync(`/proc/self/fdinfo/${name}`).match(/^fanotify ino:/gm)?.length ?? 0;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // the descriptor of the listing itself
    }
  }
  return count;
}

/** What a descriptor of this process is open on; empty for that of the listing itself. */
function linkOf(descriptor: string): string {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

fuseTest("a start that fails for want of memory for events leaves no group", async () => {
  const groups = () =>
    Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => linkOf(name)).filter((link) => /fanotify/.test(link));
  const before = groups().length;
  await using watch = new UnmountWatch();
  const { create } = EventFile;
  EventFile.create = () => {
    throw new Error("Cannot memfd_create: EMFILE");
  };
  try {
    const options = { stateDir: "/", deadlineMs: 1000, cacheMount: undefined };
    await assert.rejects(FanotifyImages.start(options, watch), /EMFILE/);
  } finally {
    EventFile.create = create;
  }
  assert.equal(groups().length, before);
});

for (const packed of [false, true]) {
  const where = packed ? "a copy" : "the cache file";

  fuseTest(`a failed fetch is EIO for its chunk, never zeros, and the next read retries (${where})`, async () => {
    await using mounted = await MountedSynthetic.make(PATH, { packed });
    const { image, path } = mounted;
    const bad = packed ? 4 : 3;
    image.beforeFetch = (chunk) => {
      if (chunk === bad) throw new Error("Cannot fetch chunk: registry is down");
    };
    const broken = await probe([readOf(path, 3), readOf(path, 5), readOf(path, 3)]);
    assert.deepEqual(broken, ["ERR:EIO", mounted.expected(5), "ERR:EIO"]);
    image.beforeFetch = () => {};
    assert.deepEqual(await probe([readOf(path, 3)]), [mounted.expected(3)]);
  });

  fuseTest(`a complete file is read by the kernel alone (${where})`, async () => {
    await using mounted = await MountedSynthetic.make(PATH, { packed });
    const { path } = mounted;
    const all = Array.from({ length: CHUNKS }, (_, chunk) => chunk);
    const reads = [
      ...all.map((chunk) => readOf(path, chunk)),
      ...packed ? [readOf(`${mounted.mount.path}/before`, 0)] : [],
    ];
    const expected = [...all.map((chunk) => mounted.expected(chunk)), ...packed ? [pattern(0, 5)] : []];
    assert.deepEqual(await probe(reads), expected);
    await until("no file is watched", () => watchedFiles() === 0);
    const { asked } = mounted;
    assert.ok(asked > 0);
    const paths = [path, `${mounted.mount.path}/${packed ? "before" : "file"}`];
    const drops = paths.map((path) => ({ op: "drop", path }) as const);
    assert.deepEqual(await probe([...drops, ...reads]), ["done", "done", ...expected]);
    assert.equal(mounted.asked, asked);
  });

  fuseTest(`mmapped pages are fetched as well (${where})`, async () => {
    await using mounted = await MountedSynthetic.make(PATH, { packed });
    const [mapped] = await probe([{ op: "mmap", path: mounted.path, offset: 7 * CHUNK, length: 4096 }]);
    assert.equal(mapped, mounted.expected(7));
  });

  fuseTest(`many concurrent readers see the right bytes (${where})`, async () => {
    await using mounted = await MountedSynthetic.make(PATH, { packed });
    mounted.image.beforeFetch = () => new Promise((resolve) => queueMicrotask(resolve));
    const chunksOf = (reader: number) => Array.from({ length: 32 }, (_, i) => (i * 7 + reader * 5) % CHUNKS);
    await Promise.all(Array.from({ length: 6 }, async (_, reader) => {
      const answers = await probe(chunksOf(reader).map((chunk) => readOf(mounted.path, chunk)));
      assert.deepEqual(answers, chunksOf(reader).map((chunk) => mounted.expected(chunk)));
    }));
  });
}

fuseTest("a copy that somebody truncates never shows zeros", async () => {
  await using mounted = await MountedSynthetic.make(PATH, { packed: true });
  const { path, kit } = mounted;
  const chunks = [1, 2, 3];
  const reads = chunks.map((chunk) => readOf(path, chunk)), expected = chunks.map((chunk) => mounted.expected(chunk));
  assert.deepEqual(await probe(reads), expected);
  const copies = kit.temp.join("state/copies");
  for (const { name } of [...Deno.readDirSync(copies)]) Deno.truncateSync(`${copies}/${name}`, 4096);
  const [, last] = await probe([{ op: "drop", path }, readOf(path, CHUNKS - 1)]);
  assert.equal(last, mounted.expected(CHUNKS - 1)); // writes beyond the new end
  assert.deepEqual(await probe(reads), expected);
});

fuseTest("a fetch that exceeds the deadline is EIO, and the next read retries", async () => {
  await using mounted = await MountedSynthetic.make(PATH, { deadlineMs: 100 });
  mounted.image.beforeFetch = () => new Promise<never>(() => {});
  assert.deepEqual(await probe([readOf(mounted.path, 1)]), ["ERR:EIO"]);
  mounted.image.beforeFetch = () => {};
  // a busy machine may exceed the deadline, too
  await untilEqual(() => probe([readOf(mounted.path, 1)]), [mounted.expected(1)]);
});

fuseTest("a read about which the kernel cannot ask is an error, and is counted", async () => {
  await using mounted = await MountedSynthetic.make(PATH);
  await using reader = new Prober();
  const readChunk = async (chunk: number) => (await reader.probe([readOf(mounted.path, chunk)], PATIENCE_MS))[0];
  assert.equal(await readChunk(1), mounted.expected(1));
  {
    await using _limit = await NoDescriptors.make();
    assert.equal(await readChunk(5), "ERR:EIO");
  }
  assert.ok(mounted.kit.mounts.counters().denied > 0);
  assert.equal(await readChunk(5), mounted.expected(5));
});

/** While it exists, this process gets no further descriptors. */
class NoDescriptors implements AsyncDisposable {
  private constructor(private readonly limiter: Deno.ChildProcess) {}

  static async make(): Promise<NoDescriptors> {
    const script = `limit=$(prlimit --pid "$1" --nofile --noheadings --output SOFT)
      prlimit --pid "$1" --nofile=3:; echo; read -r end || true; prlimit --pid "$1" --nofile="$limit":`;
    const limiter = new Deno.Command("sh", {
      args: ["-ec", script, "sh", String(Deno.pid)],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    await limiter.stdout.getReader().read();
    return new NoDescriptors(limiter);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.limiter.stdin.close();
    assert.ok((await this.limiter.status).success);
  }
}

fuseTest("a slow fetch does not block other reads", async () => {
  await using mounted = await MountedSynthetic.make(PATH);
  const gate = Promise.withResolvers<void>();
  const waiting = Promise.withResolvers<void>();
  mounted.image.beforeFetch = async (chunk) => {
    if (chunk > 3) return;
    waiting.resolve();
    await gate.promise;
  };
  const slow = probe([readOf(mounted.path, 0)]);
  await waiting.promise;
  assert.ok(mounted.kit.mounts.waitingReads > 0);
  assert.deepEqual(await probe([readOf(mounted.path, 9)]), [mounted.expected(9)]);
  gate.resolve();
  assert.deepEqual(await slow, [mounted.expected(0)]);
});

fuseTest("an image with a complete blob is mounted without read events", async () => {
  await using mounted = await MountedSynthetic.make(PATH);
  const { image, kit } = mounted;
  await image.ensure(0, CHUNKS * CHUNK, "on-demand");
  const { asked } = mounted;
  const second = await kit.mounts.add({ ...image.image, name: "second" }, 2);
  assert.deepEqual(await probe([readOf(`${second.path}/file`, 11)]), [mounted.expected(11)]);
  assert.equal(mounted.asked, asked);
});

fuseTest("images that share a blob see all of it, whichever is unmounted", async () => {
  await using mounted = await MountedSynthetic.make(PATH);
  const { image, kit } = mounted;
  const second = await kit.mounts.add({ ...image.image, name: "second" }, 2);
  assert.deepEqual(await probe([readOf(`${second.path}/file`, 2)]), [mounted.expected(2)]);
  await mounted.mount[Symbol.asyncDispose]();
  await mounted.mount.released;
  assert.deepEqual(await probe([readOf(`${second.path}/file`, 12)]), [mounted.expected(12)]);
  await second[Symbol.asyncDispose]();
  await second.released;
  assert.deepEqual(mountPointsBelow(kit.temp.path), []);
});

fuseTest("an image that contradicts its blob is refused: the kernel would show wrong bytes", async () => {
  const kit = await TestMounts.start(PATH, true);
  await using _kit = kit;
  using image = new MountableSynthetic(kit.temp.path, "image", { file: 4 * CHUNK }, CHUNK);
  image.chunks.uncompressedOffset[1] = 2 * CHUNK;
  await assert.rejects(kit.mounts.add(image.image, 1), (error) => hasCode(error, "invalid-image"));
  assert.deepEqual(mountPointsBelow(kit.temp.path), []);
});

/** Number of fanotify groups that this process holds. */
function groupsHeld(): number {
  const links = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return ""; // the descriptor of the listing itself
      throw error;
    }
  });
  return links.filter((link) => link === "anon_inode:[fanotify]").length;
}

fuseTest(
  "a group is not held any more if its events cannot be taken over: programs would wait for answers",
  async () => {
    using temp = TempDir.make();
    await using watch = new UnmountWatch();
    using group = fanotifyInit();
    using events = memfdCreate("of another version");
    const kept = new Map([["fanotify", group], ["fanotify-events", events]]);
    await using _keeper = await Keeper.start(fanotifyKeeperPath(temp.path), kept);
    const before = groupsHeld();
    const options = { stateDir: temp.path, deadlineMs: 60_000, cacheMount: undefined };
    const resuming = FanotifyImages.resume(options, watch, () => Promise.resolve([]));
    await assert.rejects(resuming, (error) => hasCode(error, "unsupported"));
    assert.equal(groupsHeld(), before);
  },
);

fuseTest("a process that still uses an image when its server ends gets errors, never zeros", async () => {
  const mounted = await MountedSynthetic.make(PATH);
  const { kit, image, path } = mounted;
  assert.deepEqual(await probe([readOf(path, 0)]), [mounted.expected(0)]);
  const script =
    'exec 3<"$1"; echo open; read _; dd if=/dev/fd/3 bs=4096 skip=$2 count=1 status=none 2>&1 | head -c 16';
  const holder = new Deno.Command("sh", {
    args: ["-c", script, "sh", path, String(10 * CHUNK / 4096)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = holder.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await output.read()).value, "open\n");
  await kit.mounts[Symbol.asyncDispose]();
  assert.deepEqual(mountPointsBelow(kit.temp.path), []);
  const stdin = holder.stdin.getWriter();
  await stdin.write(new TextEncoder().encode("\n"));
  await stdin.close();
  assert.match((await output.read()).value ?? "", /^dd: /);
  await output.cancel();
  await holder.status;
  image[Symbol.dispose]();
  await kit[Symbol.asyncDispose]();
});
