/**
 * Cache files as devices of an EROFS image.
 *
 * Data that the kernel reads directly are not checked against the bootstrap later, so everything is checked beforehand:
 * each chunk that the image's files use must be where the blob's own chunk table places it.
 *
 * @module
 */
import { fstat } from "../../../ffi/sys_stat.ts";
import { NydusGdError } from "../../base/errors.ts";
import { deviceChunks, type DeviceTable } from "../../rafs/erofs/device_table.ts";
import { agrees } from "./cached_read.ts";
import type { ChunkStore, OpenBlob } from "../image_mount.ts";

/**
 * Returns the path of the cache file, if its layout is that of the device: chunks begin at blocks, and it extends to
 * the end of the last block.
 *
 * @throws {NydusGdError} "invalid-image" when image and blob contradict each other
 */
export function devicePathOf(table: DeviceTable, blob: OpenBlob): string | undefined {
  requireAgreement(table, blob);
  if (!table.identical || blob.path === undefined) return undefined;
  return fstat(blob.dataFd).size >= table.sizeBytes ? blob.path : undefined;
}

/**
 * Returns the path if also all chunks are on disk: the kernel can read the file for good without asking.
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
