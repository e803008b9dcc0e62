/**
 * The name under which the kernel caches a device of an EROFS image. Images whose devices have the same name share the
 * cached data.
 *
 * The name is a digest of the blob's copies name and the device's size. If chunks begin at blocks, a device is the
 * blob's address space, whatever part of it an image uses. If they are packed, the places of chunks depend on which of
 * them the image uses, so the places are digested as well.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { roundUp } from "../../base/bytes.ts";
import type { ChunkPlaces } from "../../rafs/blob/chunk_table.ts";
import { DEVICE_BLOCK, type DeviceTable } from "../../rafs/erofs/device_table.ts";

/**
 * Returns the name of the device of `table`, 64 hexadecimal digits.
 *
 * @param copiesName `ChunkStore.copiesName` of its blob
 * @param sizeBytes {@link deviceSize}
 */
export function deviceTag(copiesName: string, { blobOffset, length }: DeviceTable, sizeBytes: number): string {
  const hash = createHash("sha256").update(copiesName).update(new Uint8Array(Float64Array.of(sizeBytes).buffer));
  if (blobOffset !== undefined) {
    for (const column of [new Float64Array(blobOffset), new Uint32Array(length)]) {
      hash.update(new Uint8Array(column.buffer));
    }
  }
  return hash.digest("hex");
}

/** Returns the size of the device in bytes, the same for every image that shares it. */
export function deviceSize(table: DeviceTable, { count, uncompressedOffset, uncompressedSize }: ChunkPlaces): number {
  if (!table.identical) return table.sizeBytes;
  let end = table.sizeBytes;
  for (let i = 0; i < count; i++) {
    end = Math.max(end, (uncompressedOffset[i] as number) + (uncompressedSize[i] as number));
  }
  return roundUp(end, DEVICE_BLOCK);
}
