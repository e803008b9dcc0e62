import assert from "node:assert/strict";
import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { preadExact, pwriteAll } from "../../../ffi/unistd.ts";
import { CHUNK, COLUMNS, ROWS, SUBJECT } from "../../../tests/support/blob/blob_subject.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { countBits, setBit } from "./bits.ts";
import { BlobFiles } from "./blob_files.ts";
import { blobPaths } from "./blob_paths.ts";
import { CacheFolder } from "./cache_folder.ts";
import { epochOf, isKept, isLost, noteLoss, publish } from "./lost_writes.ts";
import { Readiness } from "./readiness.ts";

/** Chunks are recorded by {@link Readiness.flush} only. */
const NEVER_BY_ITSELF = { flushAfterMs: 2 ** 30, flushAfterBytes: Infinity, lookForHolesMs: 2 ** 30 };

/** Sets bits as decoding does. */
function decode(readiness: Readiness, ...rows: number[]): void {
  for (const row of rows) setBit(readiness.ready, row);
}

async function withReadiness(test: (readiness: Readiness, files: BlobFiles) => Promise<void>): Promise<void> {
  using dir = TempDir.make();
  using folder = CacheFolder.open(dir.join("cache"));
  const open = () => BlobFiles.open(folder, blobPaths(folder.path, "a"), SUBJECT);
  using files = await open();
  await test(new Readiness("a", files, COLUMNS, NEVER_BY_ITSELF), files);
}

Deno.test("chunks that were lost are not ready, those on disk remain so", () =>
  withReadiness(async (readiness) => {
    decode(readiness, 0, 1);
    readiness.add([0, 1], readiness.epoch);
    await readiness.flush();
    decode(readiness, 2, 3);
    readiness.add([2, 3], readiness.epoch);
    noteLoss(readiness.synced);
    await readiness.mend();
    assert.deepEqual(Array.from(readiness.ready), [0b11000000]);
    assert.equal(isLost(readiness.synced), false);
    await readiness.flush();
  }));

Deno.test("chunks that a full disk has no room to record are recorded by the next flush", () =>
  withReadiness(async (readiness, files) => {
    const { record } = files.verified;
    files.verified.record = () => {
      throw new SyscallError("write", ERRNO.ENOSPC, "verified");
    };
    decode(readiness, 0, 1);
    readiness.add([0, 1], readiness.epoch);
    await assert.rejects(readiness.flush(), /is full$/);
    assert.deepEqual(Array.from(readiness.ready), [0b11000000], "their data is on disk");
    files.verified.record = record;
    await readiness.flush();
    assert.deepEqual(Array.from(files.verified.matching(COLUMNS, SUBJECT.dataSize) ?? []), [0b11000000]);
  }));

Deno.test("a chunk whose writing began before others were lost is neither ready nor recorded", () =>
  withReadiness(async (readiness, files) => {
    const { epoch } = readiness;
    decode(readiness, 4); // the Worker has written it, its message is on the way
    noteLoss(readiness.synced);
    await readiness.mend();
    decode(readiness, 5); // written a moment later, still for that message
    readiness.add([4, 5], epoch);
    await readiness.flush();
    assert.deepEqual([countBits(readiness.ready), countBits(files.map.bits)], [0, 0]);
  }));

Deno.test("chunks that are lost while the disk is told to keep them are not recorded", () =>
  withReadiness(async (readiness, files) => {
    const { data } = files;
    const syncData = data.syncData.bind(data);
    data.syncData = async () => {
      await syncData(); // whose error another thread was told of
      noteLoss(readiness.synced);
    };
    decode(readiness, 0, 1);
    readiness.add([0, 1], readiness.epoch);
    await readiness.flush();
    assert.deepEqual([countBits(readiness.ready), countBits(readiness.synced.recorded), countBits(files.map.bits)], [
      0,
      0,
      0,
    ]);
    assert.deepEqual(Array.from(files.verified.matching(COLUMNS, SUBJECT.dataSize) ?? []), [0]);
    data.syncData = syncData;
    decode(readiness, 0);
    readiness.add([0], readiness.epoch);
    await readiness.flush();
    assert.deepEqual(Array.from(readiness.synced.recorded), [0b1000_0000]);
  }));

Deno.test("a reader that began in an earlier epoch cannot tell what it has read", () =>
  withReadiness(async (readiness, files) => {
    const { synced } = readiness;
    const fd = files.data.fd;
    const before = epochOf(synced);
    assert.ok(isKept(synced, fd, before));
    noteLoss(synced);
    assert.ok(!isKept(synced, fd, before));
    await readiness.mend();
    assert.ok(!isKept(synced, fd, before));
    assert.ok(isKept(synced, fd, epochOf(synced)));
  }));

Deno.test("while another thread asks about a file, nobody can tell: the kernel tells only one of them of a failure", () =>
  withReadiness((readiness, files) => {
    const { synced } = readiness;
    const epoch = epochOf(synced), { fd } = files.data;
    let whileAsking: boolean | undefined;
    const asked = Object.create(fd, {
      raw: {
        get: () => {
          whileAsking ??= isKept(synced, fd, epoch);
          return fd.raw;
        },
      },
    });
    assert.deepEqual([isKept(synced, asked, epoch), whileAsking], [true, false]);
    return Promise.resolve();
  }));

Deno.test("until a loss is handled, nobody can tell what is read, and nothing that is written becomes ready", () =>
  withReadiness(async (readiness, files) => {
    const { synced, ready } = readiness;
    noteLoss(synced);
    const mended = readiness.mend();
    const between = epochOf(synced);
    assert.deepEqual([isKept(synced, files.data.fd, between), publish(synced, ready, 0, between)], [false, false]);
    await mended;
    assert.equal(publish(synced, ready, 0, between), false);
    assert.equal(countBits(ready), 0);
    assert.ok(publish(synced, ready, 0, epochOf(synced)));
  }));

Deno.test("what others claim to be in the file is left alone when chunks are lost", () =>
  withReadiness(async (readiness, files) => {
    const { fd } = files.data;
    pwriteAll(fd, new Uint8Array(SUBJECT.dataSize).fill(1), 0);
    files.map.claim([6]);
    decode(readiness, 2);
    readiness.add([2], readiness.epoch);
    noteLoss(readiness.synced);
    await readiness.mend();
    const bytes = new Uint8Array(SUBJECT.dataSize);
    preadExact(fd, bytes, 0);
    assert.deepEqual([bytes[2 * CHUNK], bytes[6 * CHUNK], readiness.isClaimed(6)], [0, 1, true]);
    await readiness.flush();
  }));

Deno.test("of what was lost nothing remains in the file, and all of what is on disk does", () =>
  withReadiness(async (readiness, files) => {
    const { fd } = files.data;
    pwriteAll(fd, new Uint8Array(SUBJECT.dataSize).fill(1), 0);
    decode(readiness, 2, 5);
    readiness.add([2, 5], readiness.epoch);
    await readiness.flush();
    noteLoss(readiness.synced);
    await readiness.mend();
    const bytes = new Uint8Array(SUBJECT.dataSize);
    preadExact(fd, bytes, 0);
    const kept = ROWS.filter((row) => bytes[row * CHUNK] === 1);
    assert.deepEqual(kept, [2, 5]);
  }));
