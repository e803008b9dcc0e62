/**
 * Fetches the data that a read misses, for every data path.
 *
 * A program is waiting, and an error may end it: while a backend cannot be reached, it is tried again for as long as the
 * program may wait.
 *
 * @module
 */
import { whileTransient } from "../../backend/http/retry.ts";
import { delay } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { DEVICE_BLOCK, HOLE } from "../../rafs/erofs/device_table.ts";
import { agrees, LostChunks, requirePassable } from "./cached_read.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "./known_image.ts";
import { ReadFailure } from "./read_failures.ts";

/** Attempts to have chunks in the cache while its disk loses what is written, or while that cannot be told. */
const ATTEMPTS = 10;
/**
 * Pause before the second attempt; each further one is twice as long, half a second in all. Whether chunks were lost
 * cannot be told while another thread asks, and that one may have to wait for a core.
 */
const PAUSE_MS = 1;

/**
 * Fetches the extents, then has them read. Called once by each read that has to wait.
 *
 * @param read called again, after another fetch, when it throws {@link LostChunks}
 * @param onBlob called for each blob that had to be opened
 * @throws {ReadFailure} for the first extent that cannot be fetched, or whose chunk is lost again and again; else what
 * `read` throws
 */
export async function withFetched(
  known: KnownImage,
  extents: readonly Extent[],
  signal: AbortSignal,
  read: () => void | Promise<void>,
  onBlob: (index: number, blob: OpenBlob) => void = () => {},
): Promise<void> {
  known.image.misses?.mark(performance.now());
  const pieces = extents.filter(({ blobIndex }) => blobIndex !== HOLE);
  await Promise.all(blobIndexesOf(pieces).map((index) => openBlob(known, index, signal, onBlob)));
  for (let attempt = 1;; attempt++) {
    await Promise.all(rangesOf(pieces).map((range) => ensure(known, range, signal)));
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof LostChunks)) throw error;
      if (attempt === ATTEMPTS) throw new ReadFailure(storeOf(known, error.blobIndex).id, error);
      await delay(pauseMs(attempt), signal);
    }
  }
}

/**
 * As {@link withFetched}, for extents that are then read by others. Resolves when they can be.
 *
 * @param hold called when they have been fetched, before it is known whether the disk has lost any
 */
export function fetchExtents(
  known: KnownImage,
  extents: readonly Extent[],
  signal: AbortSignal,
  hold: () => void = () => {},
): Promise<void> {
  return withFetched(known, extents, signal, () => {
    hold();
    requirePassable(extents, known.blobs);
  });
}

/** Milliseconds to wait after an attempt; the first is 1. */
function pauseMs(attempt: number): number {
  return PAUSE_MS * 2 ** (attempt - 1);
}

/** Returns the indexes of the blobs that the extents refer to. */
export function blobIndexesOf(extents: readonly Extent[]): number[] {
  return [...new Set(extents.map(({ blobIndex }) => blobIndex))].filter((index) => index !== HOLE);
}

async function openBlob(
  known: KnownImage,
  index: number,
  signal: AbortSignal,
  onBlob: (index: number, blob: OpenBlob) => void,
): Promise<void> {
  const store = storeOf(known, index);
  if (known.blobs[index] !== undefined) return;
  try {
    const blob = await whileTransient(signal, () => store.open(signal));
    if (known.blobs[index] !== undefined) return; // opened by another read meanwhile
    known.blobs[index] = blob;
    onBlob(index, blob);
  } catch (error) {
    throw new ReadFailure(store.id, error);
  }
}

async function ensure(known: KnownImage, range: Range, signal: AbortSignal): Promise<void> {
  const store = storeOf(known, range.blobIndex);
  for (const extent of range.extents) checkPlace(known, extent);
  try {
    await whileTransient(signal, () => store.ensure(range.offset, range.length, "on-demand", signal));
  } catch (error) {
    throw new ReadFailure(store.id, error);
  }
}

function checkPlace(known: KnownImage, extent: Extent): void {
  const blob = known.blobs[extent.blobIndex];
  if (blob !== undefined && agrees(extent, blob)) return;
  const what = `bootstrap and chunk table disagree on chunk ${extent.chunkIndex}`;
  const error = new NydusGdError("invalid-image", `Cannot read blob: ${what}`);
  throw new ReadFailure(storeOf(known, extent.blobIndex).id, error);
}

/** A range of one blob's address space, and the extents within it. */
interface Range {
  readonly blobIndex: number;
  readonly offset: number;
  length: number;
  readonly extents: Extent[];
}

/** Merges extents that are adjacent in a blob, or separated by less than a block of padding, into one request. */
function rangesOf(extents: readonly Extent[]): Range[] {
  const ranges: Range[] = [];
  for (const extent of extents) {
    const last = ranges.at(-1);
    const gap = last?.blobIndex === extent.blobIndex ? extent.blobOffset - last.offset - last.length : -1;
    if (last !== undefined && gap >= 0 && gap < DEVICE_BLOCK) {
      last.length += gap + extent.length;
      last.extents.push(extent);
    } else {
      ranges.push({
        blobIndex: extent.blobIndex,
        offset: extent.blobOffset,
        length: extent.length,
        extents: [extent],
      });
    }
  }
  return ranges;
}

/** @throws {NydusGdError} "invalid-image" when the image has no such blob */
export function storeOf({ image }: KnownImage, index: number): ChunkStore {
  const store = image.blobs[index];
  if (store === undefined) throw new NydusGdError("invalid-image", `Cannot read blob ${index}: image has no such blob`);
  return store;
}
