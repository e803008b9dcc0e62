/**
 * Which image may be reading a range of a watched file.
 *
 * An event identifies a file, not an image, and several images may share the file. The image that reads has chunks at
 * every block of the range, since the kernel reads nothing else. If no known image has, the reader is an unknown one,
 * whose bootstrap could not be reopened for example: none of its reads may be allowed.
 *
 * @module
 */
import type { Extent } from "../../rafs/bootstrap.ts";
import { DEVICE_BLOCK, deviceExtents, type DeviceTable, HOLE } from "../../rafs/erofs/device_table.ts";

/** Whether the extents of `count` bytes of a device are all chunks or the padding of their last blocks. */
export function areOfChunks(extents: readonly Extent[], count: number): boolean {
  let length = 0;
  for (const extent of extents) {
    if (extent.blobIndex === HOLE && !isPadding(extent)) return false;
    length += extent.length;
  }
  return length === count;
}

/** Whether an image with this device may be the one that reads the range. */
export function mayRead(table: DeviceTable, offset: number, count: number): boolean {
  return areOfChunks(deviceExtents(table, offset, count), count);
}

function isPadding({ fileOffset, length }: Extent): boolean {
  const inBlock = fileOffset % DEVICE_BLOCK;
  return inBlock > 0 && inBlock + length <= DEVICE_BLOCK;
}
