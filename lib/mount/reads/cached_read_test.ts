import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { dropPages, O, open } from "../../../ffi/fcntl.ts";
import { fsync, pwriteAll } from "../../../ffi/unistd.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { newSyncState } from "../../blob/cache/lost_writes.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { readExtents } from "./cached_read.ts";
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

function blobIn(dataFd: number): OpenBlob {
  const uncompressedOffset = new Float64Array(new SharedArrayBuffer(8));
  const uncompressedSize = new Uint32Array(new SharedArrayBuffer(4)).fill(CHUNK_BYTES);
  const ready = new Uint8Array(new SharedArrayBuffer(1)).fill(0x80);
  const watched = new Uint8Array(new SharedArrayBuffer(1));
  const chunks = { count: 1, uncompressedOffset, uncompressedSize };
  return { dataFd, chunks, ready, synced: newSyncState(1), path: undefined, watched };
}

function pieceAt(blobOffset: number, length: number): Extent {
  return { fileOffset: 0, blobIndex: 0, chunkIndex: 0, blobOffset, length, chunkOffset: 0, chunkLength: CHUNK_BYTES };
}

/** Bytes that this thread has read from disk; 0 if files are in memory. */
function readFromDisk(): number {
  const text = Deno.readTextFileSync("/proc/thread-self/io");
  return Number(/^read_bytes: (\d+)$/m.exec(text)?.[1]);
}
