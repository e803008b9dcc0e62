/**
 * A FUSE session when data are unavailable or late, and when it ends while in use.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { O, open } from "../../ffi/fcntl.ts";
import { MS } from "../../ffi/sys_mount.ts";
import { pwriteAll } from "../../ffi/unistd.ts";
import { hasCode } from "../../lib/base/errors.ts";
import { INODE, SUPER, UNIT } from "../../lib/rafs/v5/layout.ts";
import { forgetUnused, fuseTest, TestSession, untilReleased } from "../support/mount/fuse_mount_kit.ts";
import { mountPointsBelow } from "../support/mount/mount_points.ts";
import { MountableSynthetic } from "../support/mount/mountable_synthetic.ts";
import { CHUNK, pattern } from "../support/mount/mounted_synthetic.ts";
import { type Probe, probe } from "../support/mount/fs_probe.ts";
import { quietLogs } from "../support/quiet_logs.ts";
import { sh } from "../support/process/shell.ts";
import { untilEqual } from "../support/until.ts";

/** A read that bypasses the page cache: without readahead and without a retry by the kernel. */
function directRead(path: string, chunk: number): Probe {
  return { op: "read", path, offset: chunk * CHUNK, length: 4096, direct: true };
}

fuseTest("a failed fetch is EIO for its range, and the next read retries", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "faults", { file: 8 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  image.beforeFetch = (chunk) => {
    if (chunk === 3) throw new Error("Cannot fetch chunk: registry is down");
  };
  const broken = await probe([directRead(path, 3), directRead(path, 4), directRead(path, 3)]);
  assert.deepEqual(broken, ["ERR:EIO", pattern(4 * CHUNK, 4096), "ERR:EIO"]);
  image.beforeFetch = () => {};
  assert.deepEqual(await probe([directRead(path, 3)]), [pattern(3 * CHUNK, 4096)]);
});

fuseTest("a fetch that exceeds the deadline is EIO, and the next read retries", async () => {
  await using kit = await TestSession.start({ deadlineMs: 40 });
  using image = new MountableSynthetic(kit.temp.path, "late", { file: 2 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  image.beforeFetch = () => new Promise<never>(() => {});
  assert.deepEqual(await probe([directRead(path, 1)]), ["ERR:EIO"]);
  image.beforeFetch = () => {};
  // a busy machine may exceed the deadline, too
  await untilEqual(() => probe([directRead(path, 1)]), [pattern(CHUNK, 4096)]);
});

fuseTest("a failure is logged once, and again after the blob was readable", async () => {
  const records: LogRecord[] = [];
  await using _quiet = await quietLogs(records);
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "logged", { file: 8 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  const fail = () => {
    throw new Error("Cannot fetch: registry is down");
  };
  image.beforeFetch = fail;
  await probe([directRead(path, 1), directRead(path, 2), directRead(path, 1)]);
  assert.equal(records.length, 1);
  const { image: name, blob, cause } = records[0]?.properties ?? {};
  assert.deepEqual([name, blob, cause], ["logged", image.id, "Cannot fetch: registry is down"]);
  image.beforeFetch = () => {};
  await probe([directRead(path, 3)]);
  image.beforeFetch = fail;
  await probe([directRead(path, 1)]);
  assert.equal(records.length, 2);
});

fuseTest("an overlay on an image works, also after the image was removed", async () => {
  await using kit = await TestSession.start();
  const { temp } = kit;
  using image = new MountableSynthetic(temp.path, "lower", { dir: { file: 3 * CHUNK }, other: 5 }, CHUNK);
  const mount = await kit.session.add(image.image, 1);
  for (const name of ["upper", "work", "merged"]) Deno.mkdirSync(temp.join(name));
  const options = `lowerdir=${mount.path},upperdir=${temp.join("upper")},workdir=${temp.join("work")}`;
  const merged = temp.join("merged");
  await sh(`mount -t overlay overlay -o ${options} ${merged}`);
  try {
    await mount[Symbol.asyncDispose]();
    forgetUnused(merged);
    forgetUnused(kit.session.mountpoint, MS.RDONLY);
    await sh(`echo more >> ${merged}/dir/file; mv ${merged}/other ${merged}/moved; rm ${merged}/moved`);
    const [start, names] = await probe([
      { op: "read", path: `${merged}/dir/file`, offset: CHUNK, length: 8 },
      { op: "names", path: merged },
    ]);
    assert.deepEqual([start, names], [pattern(4096 + CHUNK, 8), "1 1"]); // "other" precedes it in the blob
  } finally {
    await sh(`umount ${merged}`);
  }
  await untilReleased(kit, mount);
});

fuseTest("a chunk table that contradicts the bootstrap is EIO, never other bytes", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "disagree", { file: 4 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  image.chunks.uncompressedOffset[1] = 2 * CHUNK;
  image.chunks.uncompressedSize[2] = CHUNK - 1;
  const answers = await probe([0, 1, 2, 3].map((chunk) => directRead(path, chunk)));
  assert.deepEqual(answers, [pattern(0, 4096), "ERR:EIO", "ERR:EIO", pattern(3 * CHUNK, 4096)]);
});

fuseTest("a truncated cache file is EIO", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "short", { file: 4 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  assert.deepEqual(await probe([directRead(path, 2)]), [pattern(2 * CHUNK, 4096)]);
  Deno.truncateSync(kit.temp.join("short.data"), CHUNK);
  assert.deepEqual(await probe([directRead(path, 2)]), ["ERR:EIO"]);
});

fuseTest("a slow fetch does not block other reads, not even with one Worker", async () => {
  await using kit = await TestSession.start({ workers: 1 });
  using image = new MountableSynthetic(kit.temp.path, "slow", { file: 64 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  const path = `${mount.path}/file`;
  const gate = Promise.withResolvers<void>();
  const waiting = Promise.withResolvers<void>();
  let blocked = 0;
  image.beforeFetch = async (chunk) => {
    if (chunk >= 32) return;
    if (++blocked === 4) waiting.resolve();
    await gate.promise;
  };
  const slow = [0, 8, 16, 24].map((chunk) => probe([directRead(path, chunk)]));
  await waiting.promise;
  assert.equal(kit.session.waitingReads, 4);
  assert.deepEqual(await probe([directRead(path, 40), { op: "names", path: mount.path }]), [
    pattern(40 * CHUNK, 4096),
    "1 1",
  ]);
  gate.resolve();
  assert.deepEqual(await Promise.all(slow), [0, 8, 16, 24].map((chunk) => [pattern(chunk * CHUNK, 4096)]));
  assert.equal(kit.session.waitingReads, 0);
});

fuseTest("many concurrent readers see the right bytes", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "parallel", { file: 256 * CHUNK }, CHUNK);
  await using mount = await kit.session.add(image.image, 1);
  image.beforeFetch = () => new Promise((resolve) => queueMicrotask(resolve));
  const path = `${mount.path}/file`;
  const chunksOf = (reader: number) => Array.from({ length: 64 }, (_, i) => (i * 37 + reader * 11) % 256);
  await Promise.all(Array.from({ length: 6 }, async (_, reader) => {
    const answers = await probe(chunksOf(reader).map((chunk) => directRead(path, chunk)));
    assert.deepEqual(answers, chunksOf(reader).map((chunk) => pattern(chunk * CHUNK, 4096)));
  }));
});

fuseTest("a mount in use is busy, and a forced unmount fails waiting reads with EIO", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "busy", { file: 4 * CHUNK }, CHUNK);
  const mount = await kit.session.add(image.image, 1);
  const waiting = Promise.withResolvers<void>();
  image.beforeFetch = () => {
    waiting.resolve();
    return new Promise<never>(() => {});
  };
  const reader = probe([directRead(`${mount.path}/file`, 0)]);
  await waiting.promise;
  await assert.rejects(kit.session.unmount(), (error) => hasCode(error, "busy"));
  assert.deepEqual(mountPointsBelow(kit.temp.path), [kit.session.mountpoint]);
  await kit.session.unmount({ force: true });
  assert.deepEqual(await reader, ["ERR:EIO"]);
  assert.deepEqual(mountPointsBelow(kit.temp.path), []);
});

fuseTest("a file system held by another mount namespace is aborted when the session ends", async () => {
  const kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "held", { file: CHUNK }, CHUNK);
  const mount = await kit.session.add(image.image, 1);
  const holder = new Deno.Command("unshare", {
    args: ["--mount", "--propagation", "private", "sh", "-c", `echo ready; exec sleep infinity`],
    stdout: "piped",
  }).spawn();
  try {
    const output = holder.stdout.getReader();
    await output.read();
    await output.cancel();
    await kit[Symbol.asyncDispose]();
    assert.deepEqual(mountPointsBelow(kit.temp.path), []);
    await mount.released;
  } finally {
    holder.kill("SIGKILL");
    await holder.status;
  }
});

fuseTest("a damaged image yields EIO for the damaged parts only", async () => {
  await using kit = await TestSession.start();
  using image = new MountableSynthetic(kit.temp.path, "damaged", { a: { b: 1 }, c: CHUNK, d: CHUNK }, CHUNK);
  // the record of "c", the third one, names another directory as its parent
  const { bytes } = image.mapping;
  const view = new DataView(bytes.buffer);
  const table = Number(view.getBigUint64(SUPER.inodeTableOffset, true));
  const record = view.getUint32(table + 2 * 4, true) * UNIT;
  const parent = new Uint8Array(BigUint64Array.of(2n).buffer);
  using boot = open(kit.temp.join("damaged.boot"), O.RDWR);
  pwriteAll(boot, parent, record + INODE.parent);
  await using mount = await kit.session.add(image.image, 1);
  const [names, good, bad] = await probe([
    { op: "names", path: `${mount.path}/a` },
    { op: "read", path: `${mount.path}/d`, offset: 0, length: 4 },
    { op: "stat", path: `${mount.path}/c` },
  ]);
  assert.deepEqual([names, good, bad], ["1 1", pattern(CHUNK, 4), "ERR:EIO"]);
});
