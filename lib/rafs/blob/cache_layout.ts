/**
 * Sizes and layouts of a blob's cache files, compatible with nydusd.
 *
 * | file | content |
 * |---|---|
 * | `<id>.blob.data` | plain chunks at their uncompressed offsets, sparse |
 * | `<id>.blob.data.chunk_map` | 4096-byte header, then one bit per chunk |
 * | `<id>.blob.meta` | plain CI, zero-padded to 4096, and its header; v6 only |
 *
 * Source: dragonflyoss/nydus storage/src/{meta/mod,cache/state/persist_map}.rs.
 *
 * @module
 */
import { roundUp } from "../../base/bytes.ts";
import type { BlobDescriptor } from "../bootstrap.ts";
import { CI_HEADER } from "./blob_meta.ts";
import type { ChunkColumns } from "./chunk_table.ts";
import { unreadable } from "../format/guard.ts";

/** Bytes of the chunk map header. */
const CHUNK_MAP_HEADER = 4096;

/** Sizes of a blob's cache files in bytes. */
export interface CacheSizes {
  /**
   * `.blob.data`: the blob's address space, or up to the last known chunk when an old image does not record its size.
   */
  readonly data: number;
  /** `.blob.data.chunk_map`. */
  readonly chunkMap: number;
  /** `.blob.meta`, undefined for v5. */
  readonly meta: number | undefined;
}

/** Returns the sizes of the cache files of one blob. */
export function cacheSizes(blob: BlobDescriptor, columns: ChunkColumns): CacheSizes {
  let data = blob.uncompressedSize;
  if (data === 0) {
    for (let i = 0; i < columns.count; i++) {
      data = Math.max(data, (columns.uncompressedOffset[i] as number) + (columns.uncompressedSize[i] as number));
    }
  }
  return {
    data,
    chunkMap: CHUNK_MAP_HEADER + Math.ceil(columns.count / 8),
    meta: blob.meta === undefined ? undefined : cacheMetaSize(blob.meta.uncompressedSize),
  };
}

/** Bytes of `.blob.meta` for a CI of `ciSize` plain bytes. */
export function cacheMetaSize(ciSize: number): number {
  return roundUp(ciSize, 4096) + CI_HEADER.SIZE;
}

/** Builds the content of `.blob.meta`. */
export function cacheBlobMetaImage(ci: Uint8Array, header: Uint8Array): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(cacheMetaSize(ci.length));
  image.set(ci);
  image.set(header, image.length - CI_HEADER.SIZE);
  return image;
}

/**
 * Splits the content of `.blob.meta` for {@link parseBlobMeta}, which checks the rest.
 *
 * @throws {RafsError} when the size does not match the blob
 */
export function splitCacheBlobMeta(
  blob: BlobDescriptor,
  image: Uint8Array,
): { ci: Uint8Array; header: Uint8Array } {
  const size = blob.meta?.uncompressedSize ?? 0;
  const expected = cacheMetaSize(size);
  if (image.length !== expected) {
    unreadable("cached blob meta", 0, `it has ${image.length} bytes, expected ${expected}`);
  }
  return { ci: image.subarray(0, size), header: image.subarray(expected - CI_HEADER.SIZE) };
}
