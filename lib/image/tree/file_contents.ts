/**
 * Reads the content of an image's files sequentially, with read-ahead.
 *
 * ```ts
 * const contents = fileContents(image, filesOf(image.tree), signal);
 * for await (const { ino, offset, bytes } of contents) pwriteAll(fileOf(ino), bytes, offset);
 * ```
 * Read-ahead is limited in bytes, and so is memory, whatever the image. The cache verifies every byte.
 *
 * @module
 */
import { throwIfAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { agrees, readExtents } from "../../mount/reads/cached_read.ts";
import type { ChunkStore, OpenBlob } from "../../mount/image_mount.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";

/** Maximum bytes of a piece. */
const WINDOW_BYTES = 4 << 20;
/** Bytes to read ahead. */
const AHEAD_BYTES = 32 << 20;
/** Maximum windows to read ahead, which limits the queue for small files. */
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
  /** Valid until the next piece is requested. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** An image whose files can be read, such as `OpenImage`. */
export interface ReadableImage {
  readonly tree: Bootstrap;
  readonly blobs: readonly ChunkStore[];
}

interface Window {
  readonly ino: number;
  readonly offset: number;
  readonly extents: readonly Extent[];
  readonly length: number;
  /** Settles once every byte can be read from the cache. */
  readonly ready: Promise<(OpenBlob | undefined)[]>;
}

/**
 * Yields the content of each file in turn, in contiguous pieces. Empty files yield nothing.
 *
 * @param files consumed slightly ahead of the pieces
 * @throws {NydusGdError} "corrupt", "invalid-image"; errors of the blob's backend
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
      ready.catch(() => {}); // reported when the window is read
      yield { ino, offset, extents, length, ready };
    }
  }
}

/** Opens the blobs of the extents and fetches their data. */
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
