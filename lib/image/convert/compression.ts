/**
 * Compressing chunks, synchronously, in the thread that asks.
 *
 * @module
 */
import { lz4Bound, lz4CompressBlock, lz4CompressInto } from "../../../ffi/liblz4.ts";
import { zstdBound, zstdCompress, zstdCompressInto } from "../../../ffi/libzstd.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** How chunks are compressed. */
export type Compression = Pick<RafsOptions, "compressor" | "level">;

/** Chunks that travel together: one behind the other. */
export interface Parcel {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of each chunk. */
  readonly sizes: readonly number[];
}

/** The bytes compressed, or the same bytes where that does not make them fewer. */
export function compressChunk(plain: Uint8Array, { compressor, level }: Compression): Uint8Array {
  if (compressor === "none") return plain;
  const smaller = compressor === "zstd" ? zstdCompress(plain, level) : lz4CompressBlock(plain);
  return smaller.length < plain.length ? smaller : plain;
}

/** Room for what a parcel becomes, kept between calls. */
let scratch = new Uint8Array(0);

/** Each chunk compressed, or as it is where that does not make it smaller. */
export function compressParcel({ bytes, sizes }: Parcel, compression: Compression): Parcel {
  const room = sizes.reduce((sum, size) => sum + boundOf(size, compression), 0);
  if (scratch.length < room) scratch = new Uint8Array(room);
  const stored: number[] = [];
  let from = 0, to = 0;
  for (const size of sizes) {
    const plain = bytes.subarray(from, from + size);
    let length = compressInto(plain, scratch.subarray(to, to + boundOf(size, compression)), compression);
    if (length >= size) {
      scratch.set(plain, to);
      length = size;
    }
    stored.push(length);
    from += size;
    to += length;
  }
  return { bytes: scratch.slice(0, to), sizes: stored };
}

function boundOf(size: number, { compressor }: Compression): number {
  return compressor === "zstd" ? zstdBound(size) : compressor === "lz4_block" ? lz4Bound(size) : size;
}

function compressInto(plain: Uint8Array, destination: Uint8Array, { compressor, level }: Compression): number {
  switch (compressor) {
    case "zstd":
      return zstdCompressInto(plain, destination, level);
    case "lz4_block":
      return lz4CompressInto(plain, destination);
    case "none":
      return plain.length;
  }
}
