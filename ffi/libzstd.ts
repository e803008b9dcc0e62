/**
 * Zstandard in one call, with one context for each thread and direction: making them anew costs more than a small chunk.
 *
 * Source: zstd.h 1.5.4.
 *
 * @module
 */
import { load } from "./libc.ts";

const zstd = load("libzstd.so.1", "libzstd1", {
  ZSTD_createDCtx: { parameters: [], result: "pointer" }, // ZSTD_DCtx *ZSTD_createDCtx(void)
  ZSTD_createCCtx: { parameters: [], result: "pointer" }, // ZSTD_CCtx *ZSTD_createCCtx(void)
  // size_t ZSTD_decompressDCtx(ZSTD_DCtx *, void *dst, size_t dstCapacity, const void *src, size_t srcSize)
  ZSTD_decompressDCtx: { parameters: ["pointer", "buffer", "usize", "buffer", "usize"], result: "usize" },
  // size_t ZSTD_compressCCtx(ZSTD_CCtx *, void *dst, size_t dstCapacity, const void *src, size_t srcSize, int level)
  ZSTD_compressCCtx: { parameters: ["pointer", "buffer", "usize", "buffer", "usize", "i32"], result: "usize" },
  ZSTD_compressBound: { parameters: ["usize"], result: "usize" }, // size_t ZSTD_compressBound(size_t srcSize)
  ZSTD_isError: { parameters: ["usize"], result: "u32" }, // unsigned ZSTD_isError(size_t code)
  ZSTD_versionString: { parameters: [], result: "pointer" }, // const char *ZSTD_versionString(void)
  ZSTD_getErrorName: { parameters: ["usize"], result: "pointer" }, // const char *ZSTD_getErrorName(size_t code)
});

/** What libzstd says of bytes that it refuses: `Cannot decompress zstd: Data corruption detected`. */
export class ZstdError extends Error {
  override readonly name = "ZstdError";
}

/**
 * Loads the library and says which one it is: "1.5.4".
 *
 * @throws {MissingLibraryError} when it cannot be loaded
 */
export function zstdVersion(): string {
  const text = zstd().ZSTD_versionString();
  return text === null ? "unknown" : new Deno.UnsafePointerView(text).getCString();
}

/** Kept as long as the thread lives: ZSTD_freeDCtx is never called. */
let decompressor: Deno.PointerValue = null;
/** As {@link decompressor}. */
let compressor: Deno.PointerValue = null;

/**
 * Decompresses one or more whole frames into `destination`: bytes written, never past its end.
 *
 * @throws {ZstdError} malformed, cut off, or larger than `destination`
 */
export function zstdDecompress(source: Uint8Array, destination: Uint8Array): number {
  decompressor ??= zstd().ZSTD_createDCtx();
  if (decompressor === null) throw new ZstdError("Cannot decompress zstd: no memory for a context");
  const room = BigInt(destination.length);
  const result = zstd().ZSTD_decompressDCtx(decompressor, destination, room, source, BigInt(source.length));
  return zstdResult(result, "decompress");
}

/** Bytes that compressing so many may take. */
export function zstdBound(sizeBytes: number): number {
  return zstdResult(zstd().ZSTD_compressBound(BigInt(sizeBytes)), "compress");
}

/**
 * Compresses into one frame that tells its size: bytes written to `destination`, which has {@link zstdBound} of them.
 *
 * @param level 1 to 22, 0 is the library's default
 */
export function zstdCompressInto(source: Uint8Array, destination: Uint8Array, level: number): number {
  compressor ??= zstd().ZSTD_createCCtx();
  if (compressor === null) throw new ZstdError("Cannot compress zstd: no memory for a context");
  const room = BigInt(destination.length);
  const written = zstd().ZSTD_compressCCtx(compressor, destination, room, source, BigInt(source.length), level);
  return zstdResult(written, "compress");
}

/** As {@link zstdCompressInto}, into memory of its own. */
export function zstdCompress(source: Uint8Array, level: number): Uint8Array<ArrayBuffer> {
  const destination = new Uint8Array(zstdBound(source.length));
  return destination.slice(0, zstdCompressInto(source, destination, level));
}

/**
 * What a call of the library gave.
 *
 * @param what for messages: "decompress"
 * @throws {ZstdError} where it is an error
 */
export function zstdResult(result: bigint, what: string): number {
  if (zstd().ZSTD_isError(result) === 0) return Number(result);
  const name = zstd().ZSTD_getErrorName(result);
  const reason = name === null ? "unknown error" : new Deno.UnsafePointerView(name).getCString();
  throw new ZstdError(`Cannot ${what} zstd: ${reason}`);
}
