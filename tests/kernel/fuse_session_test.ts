/**
 * A FUSE session as programs see it: names, reads of every kind, caching, adding and removing images, shutdown.
 *
 * @module
 */
import assert from "node:assert/strict";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { FuseConnection } from "../../lib/mount/fuse/fuse_connection.ts";
import { FuseSession } from "../../lib/mount/fuse/session.ts";
import { Keeper, keeperPath } from "../../lib/mount/keeper/keeper.ts";
import { endProcess } from "../support/process/end_process.ts";
import {
  fuseDescriptors,
  fuseTest,
  TestSession,
  untilReleased,
  workerThreads,
} from "../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";
import { MountableSynthetic } from "../support/mount/mountable_synthetic.ts";
import { CHUNK, pattern } from "../support/mount/mounted_synthetic.ts";
import { probe } from "../support/mount/fs_probe.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until, untilEqual } from "../support/until.ts";

fuseTest("names are bytes, at most 255, and a missing name stays missing", async () => {
  const longest = "n".repeat(255);
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(
    kit.temp.path,
    "names",
    { [longest]: 1, "\xff\xfe": 1, "new\nline": 1 },
    CHUNK,
  );
  await using mount = await kit.session.add(image.image, 1);
  const [names, known, missing, again, tooLong, outside] = await probe([
    { op: "names", path: mount.path },
    { op: "read", path: `${mount.path}/${longest}`, offset: 0, length: 1 },
    { op: "stat", path: `${mount.path}/missing` },
    { op: "stat", path: `${mount.path}/missing` },
    { op: "stat", path: `${mount.path}/${longest}x` },
    { op: "stat", path: `${kit.session.mountpoint}/no-image` },
  ]);
  assert.deepEqual([names, known, missing, again], ["3 3", pattern(4096, 1), "ERR:ENOENT", "ERR:ENOENT"]);
  assert.deepEqual([tooLong, outside], ["ERR:ENAMETOOLONG", "ERR:ENOENT"]);
});

fuseTest("a folder of 10000 names is listed completely, twice", async () => {
  const names = Array.from({ length: 10_000 }, (_, i) => [`file-with-a-longer-name-${i}`, 0]);
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "many", { many: Object.fromEntries(names) }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const list = { op: "names", path: `${mount.path}/many` } as const;
  assert.deepEqual(await probe([list, list]), ["10000 10000", "10000 10000"]);
});

fuseTest("reads yield the same bytes buffered, with O_DIRECT, by mmap and at the end of the file", async () => {
  const size = 5 * CHUNK + 123;
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "reads", { file: size }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  const across = CHUNK - 4096;
  const answers = await probe([
    { op: "read", path, offset: across, length: 8192 },
    { op: "read", path, offset: across, length: 8192, direct: true },
    { op: "mmap", path, offset: 3 * CHUNK - 10, length: 20 },
    { op: "read", path, offset: size - 7, length: 100 },
    { op: "read", path, offset: size + 4096, length: 10 },
    { op: "stat", path },
    { op: "statfs", path },
  ]);
  assert.deepEqual(answers, [
    pattern(across, 8192),
    pattern(across, 8192),
    pattern(3 * CHUNK - 10, 20),
    pattern(size - 7, 7),
    "",
    `2 0100755 1 ${size}`,
    `4096 ${Math.ceil((6 * CHUNK + image.image.bootstrap.length - CHUNK + 4096) / 4096)} 0 0 2 255`,
  ]);
});

fuseTest("a small cold read fetches its chunk only, a second one nothing", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "cold", { file: 64 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const read = { op: "read", path: `${mount.path}/file`, offset: 20 * CHUNK + 4096, length: 4096 } as const;
  assert.deepEqual(await probe([read]), [pattern(20 * CHUNK + 4096, 4096)]);
  assert.deepEqual(image.fetched, [20]);
  // again where another program empties the kernel's caches between two reads
  await until("the kernel's caches answer a read", async () => {
    const { requests } = kit.session.counters();
    assert.deepEqual(await probe([read]), [pattern(20 * CHUNK + 4096, 4096)]);
    assert.deepEqual(image.fetched, [20]);
    return kit.session.counters().requests === requests;
  });
});

fuseTest("a program of an image can be executed", async () => {
  const program = await Deno.readFile(await Deno.realPath("/bin/true"));
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "exec", { true: program.length }, CHUNK, program);
  await using mount = await kit.session.add(image.image, 1);
  // by a shell: starting a program waits for the open of its file, which this process has to serve
  const { code } = await new Deno.Command("sh", { args: ["-c", `${mount.path}/true`] }).output();
  assert.equal(code, 0);
});

fuseTest("every write is EROFS", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "ro", { file: 1 }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const answers = await probe([
    { op: "mkdir", path: `${mount.path}/new` },
    { op: "create", path: `${mount.path}/new` },
    { op: "unlink", path: `${mount.path}/file` },
    { op: "setxattr", path: `${mount.path}/file` },
    { op: "getxattr", path: `${mount.path}/file`, name: "user.none" },
  ]);
  assert.deepEqual(answers, ["ERR:EROFS", "ERR:EROFS", "ERR:EROFS", "ERR:EROFS", "ERR:ENODATA"]);
});

fuseTest("images are added and removed, and one in use is served until it is closed", async () => {
  await using kit = await TestSession.start();
  const { session, temp } = kit;
  using first = new MountableSynthetic(temp.path, "first", { file: 4096 }, CHUNK);
  using second = new MountableSynthetic(temp.path, "second", { file: 8192 }, CHUNK);
  const list = { op: "names", path: session.mountpoint } as const;
  assert.deepEqual(await probe([list, list]), ["0 0", "0 0"]);
  const mount = await session.add(first.image, 1);
  await using _ = await session.add(second.image, 2);
  assert.deepEqual(await probe([list]), ["2 2"]);
  await assert.rejects(session.add(first.image, 9), (error) => hasCode(error, "exists"));
  await assert.rejects(session.add({ ...first.image, name: "other" }, 2), (error) => hasCode(error, "exists"));
  // a process whose working directory is in the image
  const user = new Deno.Command("sleep", { args: ["infinity"], cwd: mount.path }).spawn();
  try {
    await mount[Symbol.asyncDispose]();
    let released = false;
    mount.released.then(() => released = true);
    const inside = `/proc/${user.pid}/cwd/file`;
    const answers = await probe([
      { op: "stat", path: `${mount.path}/file` },
      list,
      { op: "read", path: inside, offset: 0, length: 16 },
    ]);
    assert.deepEqual(answers, ["ERR:ENOENT", "1 1", pattern(0, 16)]);
    assert.equal(released, false);
    endProcess(user);
    await user.status;
    await untilReleased(kit, mount);
  } finally {
    endProcess(user);
    await user.status;
  }
  await using again = await session.add(first.image, 3);
  assert.deepEqual(await probe([{ op: "stat", path: `${again.path}/file` }]), ["2 0100755 1 4096"]);
});

fuseTest("ending a session leaves no mount, descriptor, thread or file", async () => {
  const before = { descriptors: fuseDescriptors(), threads: workerThreads() };
  const temp = TempDir.make();
  using image = new MountableSynthetic(temp.path, "gone", { file: 4096 }, CHUNK);
  {
    await using kit = await TestSession.startIn(temp, { workers: 3 });
    await using mount = await kit.session.add(image.image, 1);
    await probe([{ op: "read", path: `${mount.path}/file`, offset: 0, length: 10 }]);
    assert.deepEqual(mountPointsBelow(temp.path), [kit.session.mountpoint]);
    const all = () => fuseDescriptors() === before.descriptors + 6 && workerThreads() >= 3;
    await until("each Worker has a thread, a device and its duplicate", all);
    await kit.session.unmount();
    assert.deepEqual([...Deno.readDirSync(temp.join("state"))], []);
  }
  assert.deepEqual(mountPointsBelow(temp.path), []);
  await untilEqual(() => fuseDescriptors(), before.descriptors);
  await until("the Workers have ended", () => workerThreads() <= before.threads);
});

fuseTest("a connection that is cut has no keeper, even if its threads do not end", async () => {
  using temp = TempDir.make();
  const [mountpoint, stateDir] = [temp.join("mnt"), temp.join("state")];
  for (const folder of [mountpoint, stateDir]) Deno.mkdirSync(folder);
  const connection = await FuseConnection.mount({ mountpoint, stateDir, workers: 1 }, CHUNK);
  try {
    await connection.keep();
    assert.notEqual(await Keeper.pidOf(keeperPath(stateDir)), undefined);
    await connection.cut();
    assert.equal(await Keeper.pidOf(keeperPath(stateDir)), undefined);
  } finally {
    await connection.close();
    umount2(mountpoint, MNT.DETACH);
  }
});

fuseTest("a session that ends before all of its threads have started leaves none", async () => {
  const before = { descriptors: fuseDescriptors(), threads: workerThreads() };
  {
    await using kit = await TestSession.start({ workers: 4 });
    assert.deepEqual(await probe([{ op: "names", path: kit.session.mountpoint }]), ["0 0"]);
  }
  await untilEqual(() => fuseDescriptors(), before.descriptors);
  await until("the Workers have ended", () => workerThreads() <= before.threads);
});

fuseTest("threads that start later serve images and blobs added before", async () => {
  await using kit = await TestSession.start({ workers: 3 });
  using image = new MountableSynthetic(kit.temp.path, "early", { file: 8 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const read = (chunk: number) => ({
    op: "read",
    path: `${mount.path}/file`,
    offset: chunk * CHUNK + 4096,
    length: 4096,
    direct: true,
  } as const);
  assert.deepEqual(await probe([read(3)]), [pattern(3 * CHUNK + 4096, 4096)]);
  await until("all threads serve", () => kit.session.threads === 3);
  // more concurrent readers than one thread
  const answers = await Promise.all(Array.from({ length: 12 }, () => probe(Array.from({ length: 50 }, () => read(3)))));
  assert.ok(answers.flat().every((bytes) => bytes === pattern(3 * CHUNK + 4096, 4096)));
  assert.equal(kit.session.counters().misses, 1, "every thread knows the cached chunks");
});

fuseTest("a second session on the same folder is refused by name", async () => {
  await using kit = await TestSession.start();
  const options = { mountpoint: kit.session.mountpoint, stateDir: kit.temp.path, workers: 1, deadlineMs: 60_000 };
  await assert.rejects(FuseSession.start(options), (error) => hasCode(error, "busy"));
  assert.deepEqual(await probe([{ op: "names", path: kit.session.mountpoint }]), ["0 0"]);
});
