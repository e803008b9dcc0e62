import assert from "node:assert/strict";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { ftruncate } from "../../../ffi/unistd.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { RateMeter } from "../../base/rate_meter.ts";
import { newSyncState, noteLoss, type SyncState } from "../../blob/cache/lost_writes.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "./known_image.ts";
import { fetchExtents } from "./missing_data.ts";
import { ReadFailure } from "./read_failures.ts";

const SIZE = 4096;
const EXTENT: Extent = {
  fileOffset: 0,
  blobIndex: 0,
  chunkIndex: 0,
  blobOffset: 0,
  length: SIZE,
  chunkOffset: 0,
  chunkLength: SIZE,
};

/** A blob of one chunk, which is ready and not synced. */
function blobIn(file: Fd, synced: SyncState): OpenBlob {
  return {
    dataFd: file.raw,
    chunks: {
      count: 1,
      uncompressedOffset: new Float64Array(new SharedArrayBuffer(8)),
      uncompressedSize: new Uint32Array(new SharedArrayBuffer(4)).fill(SIZE),
    },
    ready: new Uint8Array(new SharedArrayBuffer(1)).fill(0x80),
    synced,
    path: undefined,
    watched: new Uint8Array(new SharedArrayBuffer(1)),
  };
}

/** An image with blobs "a", "b" and so on; `onEnsure` is called when one is asked for. */
function imageOf(blobs: readonly OpenBlob[], onEnsure: () => void, misses = new RateMeter()): KnownImage {
  const stores = blobs.map((blob, index): ChunkStore => ({
    id: "ab"[index] as string,
    open: () => Promise.resolve(blob),
    ensure: () => Promise.resolve(onEnsure()),
    seal: () => assert.fail(),
    copiesName: () => assert.fail(),
    onStored: () => assert.fail(),
  }));
  return {
    number: 1,
    image: { name: "image", bootstrap: { address: 0n, length: 0 }, tree: {} as never, blobs: stores, misses },
    blobs: [...blobs],
  };
}

Deno.test("a read waits for a thread that was interrupted while it asked what the disk has lost", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  ftruncate(file, SIZE);
  const synced = newSyncState(1);
  const ASKING = 2;
  Atomics.add(synced.losses, ASKING, 1);
  let attempts = 0;
  const known = imageOf([blobIn(file, synced)], () => {
    if (++attempts === 8) Atomics.sub(synced.losses, ASKING, 1); // 127 ms later at least
  });
  await fetchExtents(known, [EXTENT], new AbortController().signal);
  assert.equal(attempts, 8);
});

Deno.test("a chunk that is lost again and again is one miss, and a failure of its own blob", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  ftruncate(file, SIZE);
  const lost = newSyncState(1);
  noteLoss(lost);
  const misses = new RateMeter();
  const known = imageOf([blobIn(file, newSyncState(1)), blobIn(file, lost)], () => {}, misses);
  const extents = [EXTENT, { ...EXTENT, fileOffset: SIZE, blobIndex: 1 }];
  await assert.rejects(
    fetchExtents(known, extents, new AbortController().signal),
    (error) => error instanceof ReadFailure && error.blob === "b",
  );
  assert.equal(misses.total, 1);
});
