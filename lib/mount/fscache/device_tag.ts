/**
 * Under which name the kernel caches a device of an EROFS image. Images whose devices have the same name share what is
 * cached.
 *
 * Where chunks begin at blocks a device is the blob's address space, whatever part of it an image uses: its name is that
 * of the blob's copies. Where they are packed the places of chunks are a matter of which of them the image uses: the name
 * is a digest of these.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { roundUp } from "../../base/bytes.ts";
import type { ChunkPlaces } from "../../rafs/chunk_table.ts";
import { DEVICE_BLOCK, type DeviceTable } from "../../rafs/device_table.ts";
import type { ChunkStore } from "../image_mount.ts";

/** What a blob goes by. Can be posted to a Worker. */
export type CopiedBlob = Pick<ChunkStore, "id" | "copiesId">;

/** The name of the device of `table` on the blob. At most 64 bytes where the blob's id is. */
export function deviceTag({ id, copiesId = id }: CopiedBlob, { blobOffset, length }: DeviceTable): string {
  if (blobOffset === undefined) return copiesId;
  const layout = createHash("sha256").update(id);
  for (const column of [new Float64Array(blobOffset), new Uint32Array(length)]) {
    layout.update(new Uint8Array(column.buffer));
  }
  return layout.digest("hex");
}

/** Bytes of the device, the same for every image that has it. */
export function deviceSize(table: DeviceTable, { count, uncompressedOffset, uncompressedSize }: ChunkPlaces): number {
  if (!table.identical) return table.sizeBytes;
  let end = table.sizeBytes;
  for (let i = 0; i < count; i++) {
    end = Math.max(end, (uncompressedOffset[i] as number) + (uncompressedSize[i] as number));
  }
  return roundUp(end, DEVICE_BLOCK);
}
