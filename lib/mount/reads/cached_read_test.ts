import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { dropPages, O, open } from "../../../ffi/fcntl.ts";
import { fsync, pwriteAll } from "../../../ffi/unistd.ts";
import { openBlob } from "../../../tests/support/blob/open_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { concatenate } from "../../base/bytes.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { noteLoss } from "../../blob/cache/lost_writes.ts";
import { HOLE } from "../../rafs/erofs/device_table.ts";
import {
  areStored,
  coveredLength,
  isPassable,
  isReadable,
  LostChunks,
  readExtents,
  requirePassable,
  testAndClearWatch,
} from "./cached_read.ts";
import type { OpenBlob } from "../image_mount.ts";

const CHUNK_BYTES = 256 * 1024;
/** Attempts; other activity may evict pages of this file or program and have them read again, but not each time. */
const ATTEMPTS = 5;

Deno.test("a small read loads the surrounding data, and neighbouring reads need no further disk access", () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  const content = new Uint8Array(randomBytes(CHUNK_BYTES));
  pwriteAll(file, content, 0);
  fsync(file);
  const blob = blobIn(file.raw);
  const read = (offset: number, length: number) => {
    const out = new Uint8Array(length);
    readExtents([pieceAt(offset, length)], [blob], out);
    assert.deepEqual(out, content.subarray(offset, offset + length));
  };

  const further = Array.from({ length: ATTEMPTS }, () => {
    dropPages(file);
    read(100 * 1024 + 5, 100);
    const before = readFromDisk();
    for (let offset = 96 * 1024; offset < 128 * 1024; offset += 4096) read(offset, 4096);
    return readFromDisk() - before;
  });
  assert.equal(Math.min(...further), 0, `bytes read again: ${further}`);
});

Deno.test("extents are read in order from their files, whether adjacent or not, and holes are zeros", () => {
  using temp = TempDir.make();
  using fileA = open(temp.join("a"), O.CREAT | O.RDWR);
  using fileB = open(temp.join("b"), O.CREAT | O.RDWR);
  const contents = [fileA, fileB].map((file) => {
    const content = new Uint8Array(randomBytes(CHUNK_BYTES));
    pwriteAll(file, content, 0);
    return content;
  });
  const blobs = [blobIn(fileA.raw), blobIn(fileB.raw)];
  const places: [blobIndex: number, offset: number, length: number][] = [
    [0, 0, 10],
    [0, 10, 40_000], // adjacent
    [0, 50_000, 7], // further on
    [1, 50_007, 9], // adjacent, in another file
    [HOLE, 0, 13],
    [HOLE, 0, 5],
    [1, 50_016, 20],
    [1, 3, 4], // back
    [1, CHUNK_BYTES - 1, 1],
  ];
  const want = places.map(([index, offset, length]) =>
    contents[index]?.subarray(offset, offset + length) ?? new Uint8Array(length)
  );
  const out = new Uint8Array(want.reduce((sum, { length }) => sum + length, 0)).fill(0xaa);
  readExtents(places.map(([index, offset, length]) => ({ ...pieceAt(offset, length), blobIndex: index })), blobs, out);
  assert.deepEqual(out, concatenate(want));
  assert.throws(() => readExtents([pieceAt(0, 1)], [undefined, blobs[1]], out), /blob 0: not open/);
});

Deno.test("an extent is readable if its chunk is ready and where the image says, a hole always", () => {
  const blob = blobIn(-1);
  const piece = pieceAt(0, 100);
  const readable = (changed: Partial<Extent>, blobs: (OpenBlob | undefined)[] = [blob]) =>
    isReadable({ ...piece, ...changed }, blobs);
  assert.ok(readable({}));
  assert.ok(readable({ blobIndex: HOLE }, []));
  assert.ok(readable({ blobOffset: CHUNK_BYTES - 100 }), "the end of the chunk");
  assert.ok(!readable({ blobOffset: CHUNK_BYTES - 99 }), "beyond the end of the chunk");
  assert.ok(!readable({}, [undefined]), "a blob that is not open");
  assert.ok(!readable({ chunkIndex: 1 }), "a chunk that the table does not have");
  assert.ok(!readable({ chunkOffset: 1 }), "another place");
  assert.ok(!readable({ blobOffset: 4096, chunkOffset: 4096 }), "another place");
  assert.ok(!readable({ chunkLength: CHUNK_BYTES + 1 }), "another length");
  blob.ready[0] = 0x7f;
  assert.ok(!readable({}), "a chunk that is not ready, with all others ready");
});

Deno.test("bytes that the disk may have lost are not given out, unless they are known to be on disk", () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  pwriteAll(file, new Uint8Array(CHUNK_BYTES), 0);
  const blob = blobIn(file.raw), piece = pieceAt(0, 100);
  const read = () => readExtents([piece], [blob], new Uint8Array(100));
  const pass = () => requirePassable([piece], [blob]);
  read();
  pass();
  assert.equal(areStored([piece], [blob]), false);
  noteLoss(blob.synced);
  assert.throws(read, LostChunks);
  assert.throws(pass, LostChunks);
  assert.equal(isPassable([piece], [blob]), false);
  blob.synced.recorded.fill(0xff);
  read();
  pass();
  assert.ok(areStored([piece], [blob]));
});

Deno.test("bytes of a chunk that is not ready any more when its file is read are not given out", () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  pwriteAll(file, new Uint8Array(CHUNK_BYTES), 0);
  const blob = blobIn(file.raw);
  blob.ready.fill(0);
  assert.throws(() => readExtents([pieceAt(0, 100)], [blob], new Uint8Array(100)), LostChunks);
  assert.throws(() => requirePassable([pieceAt(0, 100)], [blob]), LostChunks);
});

Deno.test("a watched chunk is reported once", () => {
  const watched = new Uint8Array(new SharedArrayBuffer(2)).fill(0b0010_0000);
  const blob = { ...blobIn(-1), watched };
  const ask = (chunkIndex: number) => testAndClearWatch({ ...pieceAt(0, 1), chunkIndex }, blob);
  assert.deepEqual([2, 3, 10, 2, 10].map(ask), [true, false, true, false, false]);
  assert.deepEqual([...watched], [0, 0]);
  assert.equal(testAndClearWatch(pieceAt(0, 1), blobIn(-1)), false);
});

Deno.test("extents with a gap or an overlap are no file", () => {
  const at = (fileOffset: number, length: number) => ({ ...pieceAt(0, length), fileOffset });
  assert.equal(coveredLength([], 7), 0);
  assert.equal(coveredLength([at(7, 3), at(10, 5)], 7), 8);
  assert.throws(() => coveredLength([at(7, 3), at(11, 5)], 7), /data at 10 is followed by 11/);
  assert.throws(() => coveredLength([at(7, 3), at(9, 5)], 7), /data at 10 is followed by 9/);
  assert.throws(() => coveredLength([at(8, 3)], 7), /data at 7 is followed by 8/);
});

function blobIn(dataFd: number): OpenBlob {
  return openBlob(dataFd, [CHUNK_BYTES]);
}

function pieceAt(blobOffset: number, length: number): Extent {
  return { fileOffset: 0, blobIndex: 0, chunkIndex: 0, blobOffset, length, chunkOffset: 0, chunkLength: CHUNK_BYTES };
}

/** Bytes that this thread has read from disk; 0 if files are in memory. */
function readFromDisk(): number {
  const text = Deno.readTextFileSync("/proc/thread-self/io");
  return Number(/^read_bytes: (\d+)$/m.exec(text)?.[1]);
}
