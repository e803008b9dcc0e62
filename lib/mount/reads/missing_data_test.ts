import assert from "node:assert/strict";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { ftruncate } from "../../../ffi/unistd.ts";
import { openBlob } from "../../../tests/support/blob/open_blob.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { RateMeter } from "../../base/rate_meter.ts";
import { newSyncState, noteLoss, type SyncState } from "../../blob/cache/lost_writes.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { HOLE } from "../../rafs/erofs/device_table.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "./known_image.ts";
import { fetchExtents, withFetched } from "./missing_data.ts";
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
  return { ...openBlob(file.raw, [SIZE]), synced };
}

/** An image with blobs "a", "b" and so on; `onEnsure` is called with the range when one is asked for. */
function imageOf(
  blobs: readonly OpenBlob[],
  onEnsure: (blob: string, offset: number, length: number) => void,
  misses = new RateMeter(),
): KnownImage {
  const stores = blobs.map((blob, index): ChunkStore => ({
    id: "ab"[index] as string,
    open: () => Promise.resolve(blob),
    ensure: (offset, length) => Promise.resolve(onEnsure("ab"[index] as string, offset, length)),
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

Deno.test("a blob that two reads miss at once is installed once, and announced by the read that did it", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  const made: OpenBlob[] = [];
  const known = imageOf([blobIn(file, newSyncState(1))], () => {});
  known.blobs.length = 0;
  const opened = Promise.withResolvers<void>();
  const store = {
    ...known.image.blobs[0] as ChunkStore,
    open: async () => {
      const blob = blobIn(file, newSyncState(1));
      if (made.push(blob) === 2) opened.resolve();
      await opened.promise; // both reads have found the blob missing
      return blob;
    },
  };
  const image: KnownImage = { ...known, image: { ...known.image, blobs: [store] } };
  const announced: [number, OpenBlob][] = [];
  const { signal } = new AbortController();
  const read = () =>
    withFetched(image, [EXTENT], signal, () => {}, (index, blob) => {
      announced.push([index, blob]);
    });
  await Promise.all([read(), read()]);
  await read();
  assert.equal(made.length, 2);
  assert.deepEqual(announced.map(([index]) => index), [0]);
  assert.ok(announced[0]?.[1] === image.blobs[0], "another blob was announced than is used");
  assert.ok(made.includes(image.blobs[0] as OpenBlob));
});

Deno.test("what is missing is asked for in as few ranges as possible: gaps are less than a block of padding", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  const asked: [string, number, number][] = [];
  const blob = blobIn(file, newSyncState(1));
  blob.chunks.uncompressedSize[0] = 1 << 20;
  const known = imageOf([blob, blob], (...range) => asked.push(range));
  const piece = (blobIndex: number, blobOffset: number, length: number): Extent => ({
    ...EXTENT,
    blobIndex,
    blobOffset,
    length,
    chunkLength: 1 << 20,
  });
  const extents = [
    piece(0, 0, 100),
    piece(0, 100, 100), // adjacent
    piece(HOLE, 0, 50),
    piece(0, 200 + 4095, 5),
    piece(0, 4300 + 4096, 5), // a whole block further
    piece(0, 4400, 5), // back
    piece(1, 4405, 5), // another blob
  ];
  await withFetched(known, extents, new AbortController().signal, () => {});
  assert.deepEqual(asked, [["a", 0, 4300], ["a", 8396, 5], ["a", 4400, 5], ["b", 4405, 5]]);
});

Deno.test("extents are held when they have been fetched, before it is asked what the disk has lost", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  ftruncate(file, SIZE);
  const synced = newSyncState(1);
  const events: string[] = [];
  const known = imageOf([blobIn(file, synced)], () => events.push("fetched"));
  await fetchExtents(known, [EXTENT], new AbortController().signal, () => {
    if (events.push("held") === 2) noteLoss(synced);
  }).catch((error) => events.push(error instanceof ReadFailure ? "failed" : String(error)));
  assert.deepEqual(events.slice(0, 4), ["fetched", "held", "fetched", "held"]);
  assert.equal(events.at(-1), "failed");
});

Deno.test("an extent that the chunk table places elsewhere is refused before it is fetched", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("data"), O.CREAT | O.RDWR);
  const known = imageOf([blobIn(file, newSyncState(1))], () => assert.fail("it was fetched"));
  for (const wrong of [{ chunkIndex: 1 }, { chunkOffset: 1 }, { chunkLength: SIZE - 1 }, { length: SIZE + 1 }]) {
    await assert.rejects(
      fetchExtents(known, [{ ...EXTENT, ...wrong }], new AbortController().signal),
      (error) => error instanceof ReadFailure && error.blob === "a" && /disagree on chunk/.test(String(error.cause)),
      JSON.stringify(wrong),
    );
  }
});
