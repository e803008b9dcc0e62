/**
 * Cache files as devices of an EROFS image, as they are.
 *
 * What the kernel reads by itself is held against nothing any more, so the whole of it is, before: each chunk that the
 * image's files use has to be where the blob's own chunk table says.
 *
 * @module
 */
import { fstat } from "../../../ffi/sys_stat.ts";
import { NydusGdError } from "../../base/errors.ts";
import { deviceChunks, type DeviceTable } from "../../rafs/device_table.ts";
import { agrees } from "../cached_read.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";

/**
 * Path of the cache file, where it has every byte of the device in its place: chunks at blocks, up to the last block.
 *
 * @throws {NydusGdError} "invalid-image" when image and blob contradict each other
 */
export function devicePathOf(table: DeviceTable, blob: OpenBlob): string | undefined {
  requireAgreement(table, blob);
  if (!table.identical || blob.path === undefined) return undefined;
  return fstat(blob.dataFd).size >= table.sizeBytes ? blob.path : undefined;
}

/**
 * The path, where all chunks are on disk as well: the kernel can have the file for good, and nobody is asked.
 *
 * @param blob `store`, opened
 */
export function completeDevicePath(table: DeviceTable, blob: OpenBlob, store: ChunkStore): string | undefined {
  const path = devicePathOf(table, blob);
  return path !== undefined && store.seal(table.chunkIndex.subarray(0, table.count)) ? path : undefined;
}

/** @throws {NydusGdError} "invalid-image" */
export function requireAgreement(table: DeviceTable, blob: OpenBlob): void {
  for (const chunk of deviceChunks(table)) {
    if (agrees(chunk, blob)) continue;
    const what = `bootstrap and chunk table disagree on chunk ${chunk.chunkIndex}`;
    throw new NydusGdError("invalid-image", `Cannot mount blob ${table.blobIndex}: ${what}`);
  }
}
