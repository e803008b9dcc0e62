/**
 * Who may be reading a stretch of a watched file.
 *
 * An event names a file, not the image that is read, and several images may share the file. The one that reads has
 * chunks at every block of the stretch, for the kernel reads nothing else. Where no image has, it is one that is not
 * known here, as when its bootstrap could not be opened again: nothing of it may be let through.
 *
 * @module
 */
import type { Extent } from "../../rafs/bootstrap.ts";
import { DEVICE_BLOCK, deviceExtents, type DeviceTable, HOLE } from "../../rafs/device_table.ts";

/** Whether the pieces, which are those of `count` bytes of a device, are chunks and what is left of their last blocks. */
export function areOfChunks(extents: readonly Extent[], count: number): boolean {
  let length = 0;
  for (const extent of extents) {
    if (extent.blobIndex === HOLE && !isPadding(extent)) return false;
    length += extent.length;
  }
  return length === count;
}

/** Whether an image with this device may be the one that reads the stretch. */
export function mayRead(table: DeviceTable, offset: number, count: number): boolean {
  return areOfChunks(deviceExtents(table, offset, count), count);
}

function isPadding({ fileOffset, length }: Extent): boolean {
  const inBlock = fileOffset % DEVICE_BLOCK;
  return inBlock > 0 && inBlock + length <= DEVICE_BLOCK;
}
