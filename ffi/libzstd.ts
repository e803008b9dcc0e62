/**
 * One-shot Zstandard with one context per thread and direction: creating a context costs more than a small chunk.
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
  // size_t ZSTD_decompress(void *dst, size_t dstCapacity, const void *src, size_t srcSize), on another thread
  ZSTD_decompress: { parameters: ["buffer", "usize", "buffer", "usize"], result: "usize", nonblocking: true },
  // size_t ZSTD_compressCCtx(ZSTD_CCtx *, void *dst, size_t dstCapacity, const void *src, size_t srcSize, int level)
  ZSTD_compressCCtx: { parameters: ["pointer", "buffer", "usize", "buffer", "usize", "i32"], result: "usize" },
  ZSTD_compressBound: { parameters: ["usize"], result: "usize" }, // size_t ZSTD_compressBound(size_t srcSize)
  ZSTD_getErrorCode: { parameters: ["usize"], result: "i32" }, // ZSTD_ErrorCode ZSTD_getErrorCode(size_t code)
  ZSTD_isError: { parameters: ["usize"], result: "u32" }, // unsigned ZSTD_isError(size_t code)
  ZSTD_versionString: { parameters: [], result: "pointer" }, // const char *ZSTD_versionString(void)
  ZSTD_getErrorName: { parameters: ["usize"], result: "pointer" }, // const char *ZSTD_getErrorName(size_t code)
});

/** Error codes of frames that may be intact, but that are not decompressed here; zstd_errors.h 1.5.4. */
const UNSUPPORTED: ReadonlySet<number> = new Set([
  12, // ZSTD_error_version_unsupported
  14, // ZSTD_error_frameParameter_unsupported
  16, // ZSTD_error_frameParameter_windowTooLarge
  32, // ZSTD_error_dictionary_wrong
]);

/** Error of libzstd: `Cannot decompress zstd: Data corruption detected`. */
export class ZstdError extends Error {
  override readonly name = "ZstdError";

  /** @param isUnsupported whether the data may be intact: they need a larger window, a dictionary or a newer library */
  constructor(message: string, readonly isUnsupported = false) {
    super(message);
  }
}

/**
 * Loads the library and returns its version: "1.5.4".
 *
 * @throws {MissingLibraryError} when it cannot be loaded
 */
export function zstdVersion(): string {
  const text = zstd().ZSTD_versionString();
  return text === null ? "unknown" : new Deno.UnsafePointerView(text).getCString();
}

/** Kept for the lifetime of the thread: ZSTD_freeDCtx is never called. */
let decompressor: Deno.PointerValue = null;
/** Like {@link decompressor}. */
let compressor: Deno.PointerValue = null;

/**
 * Decompresses one or more complete frames into `destination`, never past its end. Returns the bytes written.
 *
 * @throws {ZstdError} when the data are malformed, truncated or larger than `destination`
 */
export function zstdDecompress(source: Uint8Array, destination: Uint8Array): number {
  decompressor ??= zstd().ZSTD_createDCtx();
  if (decompressor === null) throw new ZstdError("Cannot decompress zstd: no memory for a context");
  const room = BigInt(destination.length);
  const result = zstd().ZSTD_decompressDCtx(decompressor, destination, room, source, BigInt(source.length));
  return zstdResult(result, "decompress");
}

/**
 * Like {@link zstdDecompress}, on another thread. Both arrays must stay unchanged until it resolves.
 *
 * @throws {ZstdError} as there
 */
export async function zstdDecompressOffThread(source: Uint8Array, destination: Uint8Array): Promise<number> {
  const { ZSTD_decompress } = zstd();
  const result = await ZSTD_decompress(destination, BigInt(destination.length), source, BigInt(source.length));
  return zstdResult(result, "decompress");
}

/** Maximum compressed bytes of `sizeBytes` plain bytes. */
export function zstdBound(sizeBytes: number): number {
  return zstdResult(zstd().ZSTD_compressBound(BigInt(sizeBytes)), "compress");
}

/**
 * Compresses into one frame that records its content size. Returns the bytes written to `destination`, which must hold
 * {@link zstdBound} bytes.
 *
 * @param level 1 to 22; 0 is the library's default
 */
export function zstdCompressInto(source: Uint8Array, destination: Uint8Array, level: number): number {
  compressor ??= zstd().ZSTD_createCCtx();
  if (compressor === null) throw new ZstdError("Cannot compress zstd: no memory for a context");
  const room = BigInt(destination.length);
  const written = zstd().ZSTD_compressCCtx(compressor, destination, room, source, BigInt(source.length), level);
  return zstdResult(written, "compress");
}

/** Like {@link zstdCompressInto}, into newly allocated memory. */
export function zstdCompress(source: Uint8Array, level: number): Uint8Array<ArrayBuffer> {
  const destination = new Uint8Array(zstdBound(source.length));
  return destination.slice(0, zstdCompressInto(source, destination, level));
}

/**
 * Returns the result of a library call as a number.
 *
 * @param what verb for the error message: "decompress"
 * @throws {ZstdError} when the result is an error code
 */
export function zstdResult(result: bigint, what: string): number {
  if (zstd().ZSTD_isError(result) === 0) return Number(result);
  const name = zstd().ZSTD_getErrorName(result);
  const reason = name === null ? "unknown error" : new Deno.UnsafePointerView(name).getCString();
  throw new ZstdError(`Cannot ${what} zstd: ${reason}`, UNSUPPORTED.has(zstd().ZSTD_getErrorCode(result)));
}
