/**
 * Limits on the compression info (CI) of a blob, derived from the blob's entry in the blob table.
 *
 * @module
 */
import type { BlobDescriptor, BlobMetaLocation } from "../bootstrap.ts";
import { BLOB_FEATURE, has, LIMIT } from "../format/flags.ts";
import { refuse, unreadable } from "../format/guard.ts";

/** Sizes inside the CI data; storage/src/meta of dragonflyoss/nydus. */
export const CI = {
  V1_SIZE: 16,
  V2_SIZE: 24,
  /** A batch or ZRan context. */
  CONTEXT_SIZE: 40,
  /** Largest dictionary of a ZRan context. */
  DICTIONARY_SIZE: 32768,
  HEADER_SIZE: 4096,
  /** Plain chunks start on multiples of this. */
  CHUNK_ALIGNMENT: 4096,
} as const;

/** Bytes of one chunk info. */
export function chunkInfoSize(features: number): number {
  return has(features, BLOB_FEATURE.chunkInfoV2) ? CI.V2_SIZE : CI.V1_SIZE;
}

/**
 * End of the chunk data in the blob. Builders before 2.2 (CAP_TAR_TOC clear) counted only the chunk data in the blob's
 * compressed size.
 */
export function chunkDataEnd(blob: BlobDescriptor): number {
  const { features, meta, compressedSize } = blob;
  if (!has(features, BLOB_FEATURE.capTarToc) || has(features, BLOB_FEATURE.separate)) return compressedSize;
  const trailer = has(features, BLOB_FEATURE.hasTarHeader) ? 512 : 0;
  const end = meta !== undefined && meta.uncompressedSize > 0 ? meta.offset : compressedSize;
  return end - trailer;
}

/**
 * Fails when the CI is too small for the chunks that the blob table claims, or far larger than they need: readers
 * allocate what it claims.
 *
 * @param what,at for the error message
 */
export function checkMetaSizes(
  blob: BlobDescriptor,
  meta: BlobMetaLocation,
  what: string,
  at: number,
): void {
  const { features, chunkCount } = blob;
  const v2 = has(features, BLOB_FEATURE.chunkInfoV2);
  for (const [bit, name] of [[BLOB_FEATURE.zran, "ZRAN"], [BLOB_FEATURE.batch, "BATCH"]] as const) {
    if (has(features, bit) && !v2) unreadable(what, at, `feature ${name} needs chunk info V2`);
  }
  const room = Math.ceil(blob.uncompressedSize / CI.CHUNK_ALIGNMENT);
  if (chunkCount > room) {
    unreadable(what, at, `${chunkCount} chunks do not fit the address space of ${blob.uncompressedSize} bytes`);
  }
  const array = chunkCount * chunkInfoSize(features);
  let perChunk = chunkInfoSize(features);
  if (has(features, BLOB_FEATURE.batch)) perChunk += CI.CONTEXT_SIZE;
  if (has(features, BLOB_FEATURE.zran)) perChunk += CI.CONTEXT_SIZE + CI.DICTIONARY_SIZE;
  // A chunk dictionary may describe more chunks than the blob table counts.
  const most = has(features, BLOB_FEATURE.chunkDictGenerated) ? Math.min(room, LIMIT.chunks) : chunkCount;
  const size = meta.uncompressedSize;
  if (size < array || size > most * perChunk) {
    unreadable(what, at, `compression info has ${size} bytes, ${chunkCount} chunks need ${array}`);
  }
  if (size > LIMIT.metaSize) refuse(`${what} at ${at}`, `compression info of ${size} bytes is not supported`);
  if (meta.compressedSize > size && size > 0) {
    unreadable(what, at, `compression info grows from ${size} to ${meta.compressedSize} bytes when compressed`);
  }
  if (
    chunkCount > 0 && has(features, BLOB_FEATURE.capTarToc) && !has(features, BLOB_FEATURE.separate) &&
    meta.offset + meta.compressedSize + CI.HEADER_SIZE > blob.compressedSize
  ) {
    unreadable(what, at, `compression info at ${meta.offset} reaches beyond the blob of ${blob.compressedSize} bytes`);
  }
}
