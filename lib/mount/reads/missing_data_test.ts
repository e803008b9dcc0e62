import assert from "node:assert/strict";
import { O, open } from "../../../ffi/fcntl.ts";
import { ftruncate } from "../../../ffi/unistd.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { newSyncState } from "../../blob/cache/lost_writes.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "./known_image.ts";
import { fetchExtents } from "./missing_data.ts";

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

/** An image with one blob of one chunk, which is ready and not synced; `onEnsure` is called when it is asked for. */
function imageOf(blob: OpenBlob, onEnsure: () => void): KnownImage {
  const store: ChunkStore = {
    id: "a",
    open: () => Promise.resolve(blob),
    ensure: () => Promise.resolve(onEnsure()),
    seal: () => assert.fail(),
    copiesName: () => assert.fail(),
    onStored: () => assert.fail(),
  };
  return {
    number: 1,
    image: { name: "image", bootstrap: { address: 0n, length: 0 }, tree: {} as never, blobs: [store] },
    blobs: [blob],
  };
}

Deno.test("a read waits for a thread that was interrupted while it asked what the disk has lost", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  ftruncate(file, SIZE);
  const synced = newSyncState(1);
  const blob: OpenBlob = {
    dataFd: file.raw,
    chunks: {
      count: 1,
      uncompressedOffset: new Float64Array(new SharedArrayBuffer(8)),
      uncompressedSize: new Uint32Array(new SharedArrayBuffer(4)).fill(SIZE),
    },
    ready: new Uint8Array(new SharedArrayBuffer(1)).fill(0x80),
    synced,
    path: undefined,
  };
  const ASKING = 2;
  Atomics.add(synced.losses, ASKING, 1);
  let attempts = 0;
  const known = imageOf(blob, () => {
    if (++attempts === 8) Atomics.sub(synced.losses, ASKING, 1); // 127 ms later at least
  });
  await fetchExtents(known, [EXTENT], new AbortController().signal);
  assert.equal(attempts, 8);
});
