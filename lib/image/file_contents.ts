/**
 * The content of an image's files, one after the other, fetched ahead of who reads it.
 *
 * ```ts
 * const contents = fileContents(image, filesOf(image.tree), signal);
 * for await (const { ino, offset, bytes } of contents) pwriteAll(fileOf(ino), bytes, offset);
 * ```
 * What is asked for ahead is bounded in bytes; so is memory, whatever the image. Every byte was verified on its way
 * through the cache.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { NydusGdError } from "../base/errors.ts";
import { agrees, readExtents } from "../mount/cached_read.ts";
import type { ChunkStore, OpenBlob } from "../mount/image_mount.ts";
import type { Bootstrap, Extent } from "../rafs/bootstrap.ts";

/** Bytes of a file that are given at once. */
const WINDOW_BYTES = 4 << 20;
/** Bytes that are fetched ahead. */
const AHEAD_BYTES = 32 << 20;
/** Windows that are fetched ahead: small files count as if they were as large. */
const AHEAD_WINDOWS = 512;

/** A file of the tree. */
export interface FileRef {
  readonly ino: number;
  /** Bytes. */
  readonly size: number;
}

/** A piece of a file. */
export interface FilePiece {
  readonly ino: number;
  readonly offset: number;
  /** Valid until the next piece is asked for. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What is read: `OpenImage` is one. */
export interface ReadableImage {
  readonly tree: Bootstrap;
  readonly blobs: readonly ChunkStore[];
}

interface Window {
  readonly ino: number;
  readonly offset: number;
  readonly extents: readonly Extent[];
  readonly length: number;
  /** Settles when every byte can be read. */
  readonly ready: Promise<(OpenBlob | undefined)[]>;
}

/**
 * The content of each file in turn, in pieces that follow each other without a gap. Files of no bytes have none.
 *
 * @param files looked at a little ahead of the pieces
 * @throws {NydusGdError} "corrupt", "invalid-image"; what the home of a blob says
 */
export async function* fileContents(
  image: ReadableImage,
  files: Iterable<FileRef>,
  signal: AbortSignal,
): AsyncGenerator<FilePiece> {
  const buffer = new Uint8Array(WINDOW_BYTES);
  const queue: Window[] = [];
  const windows = windowsOf(image, files, signal);
  let aheadBytes = 0;
  for (;;) {
    while (aheadBytes < AHEAD_BYTES && queue.length < AHEAD_WINDOWS) {
      const { value, done } = windows.next();
      if (done) break;
      queue.push(value);
      aheadBytes += value.length;
    }
    const window = queue.shift();
    if (window === undefined) return;
    const { ino, offset, extents, length } = window;
    const blobs = await window.ready;
    throwIfAborted(signal);
    const bytes = buffer.subarray(0, length);
    readExtents(extents, blobs, bytes);
    yield { ino, offset, bytes };
    aheadBytes -= length;
  }
}

function* windowsOf(image: ReadableImage, files: Iterable<FileRef>, signal: AbortSignal): Generator<Window> {
  const { tree } = image;
  for (const { ino, size } of files) {
    for (let offset = 0; offset < size; offset += WINDOW_BYTES) {
      const extents = tree.extents(ino, offset, WINDOW_BYTES);
      const length = Math.min(WINDOW_BYTES, size - offset);
      const ready = fetch(image, extents, signal);
      ready.catch(() => {}); // told to who reads the window, if anybody still does
      yield { ino, offset, extents, length, ready };
    }
  }
}

/** Opens and fills what the pieces need. */
async function fetch(
  { blobs }: ReadableImage,
  extents: readonly Extent[],
  signal: AbortSignal,
): Promise<(OpenBlob | undefined)[]> {
  const opened: (OpenBlob | undefined)[] = new Array(blobs.length);
  await Promise.all([...new Set(extents.map(({ blobIndex }) => blobIndex))].map(async (index) => {
    opened[index] = await storeOf(blobs, index).open(signal);
  }));
  for (const extent of extents) {
    const blob = opened[extent.blobIndex];
    if (blob !== undefined && agrees(extent, blob)) continue;
    const { chunkIndex, blobIndex } = extent;
    throw new NydusGdError(
      "invalid-image",
      `Cannot read chunk ${chunkIndex} of blob ${
        storeOf(blobs, blobIndex).id
      }: bootstrap and blob place it differently`,
      { hint: "nydus-gd check" },
    );
  }
  await Promise.all(
    extents.map(({ blobIndex, blobOffset, length }) =>
      storeOf(blobs, blobIndex).ensure(blobOffset, length, "on-demand", signal)
    ),
  );
  return opened;
}

function storeOf(blobs: readonly ChunkStore[], index: number): ChunkStore {
  const store = blobs[index];
  if (store === undefined) throw new NydusGdError("invalid-image", `Cannot read blob ${index}: there is no such blob`);
  return store;
}
