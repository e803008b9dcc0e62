/**
 * Compressing chunks, synchronously, in the thread that asks.
 *
 * @module
 */
import { lz4CompressBlock } from "../../../ffi/liblz4.ts";
import { zstdCompress } from "../../../ffi/libzstd.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** How chunks are compressed. */
export type Compression = Pick<RafsOptions, "compressor" | "level">;

/** The bytes compressed, or the same bytes where that does not make them fewer. */
export function compressChunk(plain: Uint8Array<ArrayBuffer>, compression: Compression): Uint8Array<ArrayBuffer> {
  const smaller = compressed(plain, compression);
  return smaller.length < plain.length ? smaller : plain;
}

function compressed(plain: Uint8Array<ArrayBuffer>, { compressor, level }: Compression): Uint8Array<ArrayBuffer> {
  switch (compressor) {
    case "zstd":
      return zstdCompress(plain, level);
    case "lz4_block":
      return lz4CompressBlock(plain);
    case "none":
      return plain;
  }
}
