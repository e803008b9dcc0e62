/**
 * Reads file extents from cache files: which extents are readable, and reading them.
 *
 * An extent is readable when the chunk table agrees with the bootstrap on the place of its chunk and the chunk's ready
 * bit is set. Used by Workers, which answer hits themselves, and by the main thread, after it has fetched what was
 * missing. The disk may lose a chunk that it has not confirmed yet, so that is asked after each read.
 *
 * @module
 */
import { startReading } from "../../../ffi/fcntl.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { clearBit, hasBit } from "../../blob/cache/bits.ts";
import { epochOf, isKept, isRecorded, type SyncState } from "../../blob/cache/lost_writes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { HOLE } from "../../rafs/erofs/device_table.ts";
import type { OpenBlob } from "../image_mount.ts";

/**
 * Alignment and minimum size of disk reads of a cache file, bytes. A request of this size takes hardly longer than one
 * of a page, and counts as one where requests are rationed.
 */
const TOGETHER_BYTES = 32 * 1024;

/** The disk may have lost chunks of a blob after they were written: they have to be fetched again. */
export class LostChunks extends NydusGdError {
  constructor(readonly blobIndex: number) {
    super("io", "Cannot read cached data: its disk does not keep what is written to it");
  }
}

/** Whether bootstrap and chunk table agree on the chunk, and the extent lies within it. */
export function agrees(extent: Extent, blob: OpenBlob): boolean {
  const { chunks } = blob;
  const { chunkIndex, chunkOffset, chunkLength, blobOffset, length } = extent;
  return chunkIndex < chunks.count &&
    chunks.uncompressedOffset[chunkIndex] === chunkOffset &&
    chunks.uncompressedSize[chunkIndex] === chunkLength &&
    blobOffset >= chunkOffset && blobOffset + length <= chunkOffset + chunkLength;
}

/** Whether the chunk is verified and in the cache file. */
export function isReady({ chunkIndex }: Extent, { ready }: OpenBlob): boolean {
  return hasBit(ready, chunkIndex);
}

/** Whether the chunk is watched. Clears the watch, so only one call returns true. */
export function testAndClearWatch({ chunkIndex }: Extent, { watched }: OpenBlob): boolean {
  return hasBit(watched, chunkIndex) && clearBit(watched, chunkIndex);
}

/** Whether the extent can be read now. Holes are always readable. */
export function isReadable(extent: Extent, blobs: readonly (OpenBlob | undefined)[]): boolean {
  if (extent.blobIndex === HOLE) return true;
  const blob = blobs[extent.blobIndex];
  return blob !== undefined && agrees(extent, blob) && isReady(extent, blob);
}

/**
 * Whether the extents can be read now by others, such as the kernel, which cannot ask afterwards whether the disk has
 * lost them.
 */
export function isPassable(extents: readonly Extent[], blobs: readonly (OpenBlob | undefined)[]): boolean {
  return lostIn(extents, blobs) === undefined;
}

/** @throws {LostChunks} unless the extents are passable */
export function requirePassable(extents: readonly Extent[], blobs: readonly (OpenBlob | undefined)[]): void {
  const lost = lostIn(extents, blobs);
  if (lost !== undefined) throw new LostChunks(lost);
}

/** Whether the disk cannot lose any of the extents. */
export function areStored(extents: readonly Extent[], blobs: readonly (OpenBlob | undefined)[]): boolean {
  return doubtsOf(extents, blobs).length === 0;
}

/** Returns the index of a blob whose extents cannot be read now by others. */
function lostIn(extents: readonly Extent[], blobs: readonly (OpenBlob | undefined)[]): number | undefined {
  const doubts = doubtsOf(extents, blobs);
  const unreadable = extents.find((extent) => !isReadable(extent, blobs));
  return (unreadable ?? doubts.find(isLostSince))?.blobIndex;
}

/** A file of which chunks are read that are not known to be on disk, and the epoch before the read. */
interface Doubt {
  readonly blobIndex: number;
  readonly synced: SyncState;
  readonly dataFd: number;
  readonly epoch: number;
}

function doubtsOf(extents: readonly Extent[], blobs: readonly (OpenBlob | undefined)[]): Doubt[] {
  const doubts: Doubt[] = [];
  for (const { blobIndex, chunkIndex } of extents) {
    const blob = blobs[blobIndex];
    if (blob === undefined || isRecorded(blob.synced, chunkIndex)) continue; // a hole has no blob
    const { synced, dataFd } = blob;
    if (doubts.some((doubt) => doubt.synced === synced)) continue;
    doubts.push({ blobIndex, synced, dataFd, epoch: epochOf(synced) });
  }
  return doubts;
}

function isLostSince({ synced, dataFd, epoch }: Doubt): boolean {
  return !isKept(synced, dataFd, epoch);
}

/**
 * Returns the total length of extents that must be contiguous from `offset`, in bytes.
 *
 * @throws {NydusGdError} "invalid-image" for a gap or an overlap, which would result in wrong bytes
 */
export function coveredLength(extents: readonly Extent[], offset: number): number {
  let at = offset;
  for (const extent of extents) {
    if (extent.fileOffset !== at) {
      throw new NydusGdError("invalid-image", `Cannot read file: data at ${at} is followed by ${extent.fileOffset}`);
    }
    at += extent.length;
  }
  return at - offset;
}

/**
 * Reads the extents into `out`, merging extents that are adjacent in a cache file into one call. Holes are zeros.
 *
 * @throws {LostChunks} when they have to be fetched again
 * @throws {SyscallError} including EIO when a cache file ends early
 */
export function readExtents(
  extents: readonly Extent[],
  blobs: readonly (OpenBlob | undefined)[],
  out: Uint8Array,
): void {
  const doubts = doubtsOf(extents, blobs);
  if (doubts.length === 0) return readUnasked(extents, blobs, out);
  // ready in the epoch that was taken, not only before it
  const unreadable = extents.find((extent) => !isReadable(extent, blobs));
  if (unreadable !== undefined) throw new LostChunks(unreadable.blobIndex);
  readUnasked(extents, blobs, out);
  const lost = doubts.find(isLostSince);
  if (lost !== undefined) throw new LostChunks(lost.blobIndex);
}

function readUnasked(extents: readonly Extent[], blobs: readonly (OpenBlob | undefined)[], out: Uint8Array): void {
  let done = 0;
  for (let i = 0; i < extents.length;) {
    const first = extents[i] as Extent;
    if (first.blobIndex === HOLE) {
      out.fill(0, done, done += first.length);
      i++;
      continue;
    }
    let length = first.length;
    let next = i + 1;
    for (; next < extents.length; next++) {
      const extent = extents[next] as Extent;
      if (extent.blobIndex !== first.blobIndex || extent.blobOffset !== first.blobOffset + length) break;
      length += extent.length;
    }
    const blob = blobs[first.blobIndex];
    if (blob === undefined) throw new NydusGdError("internal", `Cannot read blob ${first.blobIndex}: not open`);
    if (length < TOGETHER_BYTES) readAround(blob.dataFd, first.blobOffset, length);
    preadExact(blob.dataFd, out.subarray(done, done + length), first.blobOffset);
    done += length;
    i = next;
  }
}

/**
 * Starts to read the aligned surroundings of a small range of a cache file, since the kernel reads ahead only for
 * sequential readers. Data that are not cached yet are holes, which cost no disk access, and later writes are seen.
 */
function readAround(dataFd: number, offset: number, length: number): void {
  const start = offset - offset % TOGETHER_BYTES;
  const end = Math.ceil((offset + length) / TOGETHER_BYTES) * TOGETHER_BYTES;
  startReading(dataFd, start, end - start);
}
