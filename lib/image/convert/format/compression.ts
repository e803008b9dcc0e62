/**
 * Compression of chunks, synchronous, in the calling thread.
 *
 * @module
 */
import { lz4Bound, lz4CompressBlock, lz4CompressInto } from "../../../../ffi/liblz4.ts";
import { zstdBound, zstdCompress, zstdCompressInto } from "../../../../ffi/libzstd.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** How chunks are compressed. */
export type Compression = Pick<RafsOptions, "compressor" | "level">;

/** Returns the bytes compressed, or unchanged if compression does not shrink them. */
export function compressChunk(plain: Uint8Array, { compressor, level }: Compression): Uint8Array {
  if (compressor === "none") return plain;
  const smaller = compressor === "zstd" ? zstdCompress(plain, level) : lz4CompressBlock(plain);
  return smaller.length < plain.length ? smaller : plain;
}

/** Maximum bytes that {@link compressInto} may write for `size` bytes. */
export function boundOf(size: number, { compressor }: Compression): number {
  return compressor === "zstd" ? zstdBound(size) : compressor === "lz4_block" ? lz4Bound(size) : size;
}

/** Compresses into `destination` and returns the compressed size; for "none" nothing is written. */
export function compressInto(plain: Uint8Array, destination: Uint8Array, { compressor, level }: Compression): number {
  switch (compressor) {
    case "zstd":
      return zstdCompressInto(plain, destination, level);
    case "lz4_block":
      return lz4CompressInto(plain, destination);
    case "none":
      return plain.length;
  }
}
