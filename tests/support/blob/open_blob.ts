/**
 * Open blobs of any file, for tests of what reads them.
 *
 * @module
 */
import { newSyncState } from "../../../lib/blob/cache/lost_writes.ts";
import type { OpenBlob } from "../../../lib/mount/image_mount.ts";

/**
 * A blob of adjacent chunks, all ready and none watched.
 *
 * @param sizes uncompressed size of each chunk, bytes
 */
export function openBlob(dataFd: number, sizes: readonly number[]): OpenBlob {
  const count = sizes.length, bitmapBytes = Math.ceil(count / 8);
  const uncompressedOffset = new Float64Array(new SharedArrayBuffer(8 * count));
  const uncompressedSize = new Uint32Array(new SharedArrayBuffer(4 * count));
  let offset = 0;
  for (const [row, size] of sizes.entries()) {
    uncompressedOffset[row] = offset;
    uncompressedSize[row] = size;
    offset += size;
  }
  return {
    dataFd,
    chunks: { count, uncompressedOffset, uncompressedSize },
    ready: new Uint8Array(new SharedArrayBuffer(bitmapBytes)).fill(0xff),
    synced: newSyncState(count),
    path: undefined,
    watched: new Uint8Array(new SharedArrayBuffer(bitmapBytes)),
  };
}
