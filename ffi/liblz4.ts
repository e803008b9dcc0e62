/**
 * LZ4 blocks as stored by RAFS: without frame, size or checksum.
 *
 * Source: lz4.h 1.9.4.
 *
 * @module
 */
import { load } from "./libc.ts";

/** LZ4_MAX_INPUT_SIZE. */
const MAX_INPUT_SIZE = 0x7e000000;

const lz4 = load("liblz4.so.1", "liblz4-1", {
  // int LZ4_decompress_safe(const char *src, char *dst, int compressedSize, int dstCapacity)
  LZ4_decompress_safe: { parameters: ["buffer", "buffer", "i32", "i32"], result: "i32" },
  // int LZ4_compress_default(const char *src, char *dst, int srcSize, int dstCapacity)
  LZ4_compress_default: { parameters: ["buffer", "buffer", "i32", "i32"], result: "i32" },
  LZ4_versionString: { parameters: [], result: "pointer" }, // const char *LZ4_versionString(void)
  LZ4_compressBound: { parameters: ["i32"], result: "i32" }, // int LZ4_compressBound(int inputSize)
});

/** Bytes that are not an LZ4 block, or a block larger than its destination. */
export class Lz4Error extends Error {
  override readonly name = "Lz4Error";
}

/**
 * Loads the library and returns its version: "1.9.4".
 *
 * @throws {MissingLibraryError} when it cannot be loaded
 */
export function lz4Version(): string {
  const text = lz4().LZ4_versionString();
  return text === null ? "unknown" : new Deno.UnsafePointerView(text).getCString();
}

/**
 * Decompresses a block into `destination`, never past its end. Returns the bytes written, for callers to compare with
 * the expected size.
 *
 * @throws {Lz4Error} when the block is malformed or larger than `destination`
 */
export function lz4DecompressBlock(source: Uint8Array, destination: Uint8Array): number {
  if (source.length > 0x7fff_ffff || destination.length > 0x7fff_ffff) {
    throw new Lz4Error("Cannot decompress lz4 block: longer than 2 GiB");
  }
  const written = lz4().LZ4_decompress_safe(source, destination, source.length, destination.length);
  if (written < 0) {
    const sizes = `${source.length} bytes, room for ${destination.length}`;
    throw new Lz4Error(`Cannot decompress lz4 block: malformed or too large (${sizes})`);
  }
  return written;
}

/** Maximum compressed bytes of `sizeBytes` plain bytes. */
export function lz4Bound(sizeBytes: number): number {
  if (sizeBytes > MAX_INPUT_SIZE) throw new Lz4Error(`Cannot compress lz4 block: ${sizeBytes} bytes`);
  return lz4().LZ4_compressBound(sizeBytes);
}

/**
 * Compresses into one block and returns the bytes written to `destination`, which must hold {@link lz4Bound} bytes.
 * Incompressible data grow slightly.
 */
export function lz4CompressInto(source: Uint8Array, destination: Uint8Array): number {
  const written = lz4().LZ4_compress_default(source, destination, source.length, destination.length);
  if (written <= 0) throw new Lz4Error(`Cannot compress lz4 block: ${source.length} bytes`);
  return written;
}

/** Like {@link lz4CompressInto}, into newly allocated memory. */
export function lz4CompressBlock(source: Uint8Array): Uint8Array<ArrayBuffer> {
  const destination = new Uint8Array(lz4Bound(source.length));
  return destination.slice(0, lz4CompressInto(source, destination));
}
