/**
 * zlib's inflate: of gzip at once, and of raw streams, where it can begin in the middle, with the window and the bits
 * before that place.
 *
 * Source: zlib.h 1.2.13.
 *
 * @module
 */
import { load } from "./libc.ts";

const zlib = load("libz.so.1", "zlib1g", {
  zlibVersion: { parameters: [], result: "pointer" }, // const char *zlibVersion(void)
  // int inflateInit2_(z_streamp strm, int windowBits, const char *version, int stream_size)
  inflateInit2_: { parameters: ["buffer", "i32", "pointer", "i32"], result: "i32" },
  inflateReset: { parameters: ["buffer"], result: "i32" }, // int inflateReset(z_streamp strm)
  // int inflateSetDictionary(z_streamp strm, const Bytef *dictionary, uInt dictLength)
  inflateSetDictionary: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  inflatePrime: { parameters: ["buffer", "i32", "i32"], result: "i32" }, // int inflatePrime(z_streamp, int bits, int value)
  inflate: { parameters: ["buffer", "i32"], result: "i32" }, // int inflate(z_streamp strm, int flush)
  inflateEnd: { parameters: ["buffer"], result: "i32" }, // int inflateEnd(z_streamp strm)
});

/**
 * Loads the library and says which one it is: "1.2.13".
 *
 * @throws {MissingLibraryError} when it cannot be loaded
 */
export function zlibVersion(): string {
  const text = zlib().zlibVersion();
  return text === null ? "unknown" : new Deno.UnsafePointerView(text).getCString();
}

/** z_stream on 64-bit Linux: byte offsets. */
const Z_STREAM = { SIZE: 112, nextIn: 0, availIn: 8, nextOut: 24, availOut: 32, msg: 48 } as const;

const Z = { OK: 0, STREAM_END: 1, BUF_ERROR: -5, SYNC_FLUSH: 2 } as const;

/** Window of 32 KiB; raw deflate, deflate within gzip's header and trailer. */
const WINDOW_BITS = { raw: -15, gzip: 16 + 15 } as const;

/** What zlib says of bytes that it refuses: `Cannot inflate: invalid distance too far back`. */
export class ZlibError extends Error {
  override readonly name = "ZlibError";
}

/** What one step took and gave, in bytes. */
export interface InflateStep {
  readonly read: number;
  readonly written: number;
  /** Whether the stream ended behind what was read. */
  readonly ended: boolean;
}

/**
 * Inflates one gzip member, whose checksum is compared.
 *
 * @returns bytes written
 * @throws {ZlibError} for malformed bytes, and where the member is cut off or gives more than `destination` takes
 */
export function gunzip(source: Uint8Array, destination: Uint8Array): number {
  using inflate = Inflate.open("gzip");
  const { written, ended } = inflate.run(source, destination);
  if (!ended) throw new ZlibError(`Cannot inflate: no end after ${source.length} and ${written} bytes`);
  return written;
}

/** One deflate stream. */
export class Inflate implements Disposable {
  /** The library keeps its address. */
  readonly #stream = new Uint8Array(Z_STREAM.SIZE);
  readonly #view = new DataView(this.#stream.buffer);
  #ended = false;

  private constructor() {}

  /** @throws {MissingLibraryError}; {ZlibError} where there is no memory */
  static open(format: keyof typeof WINDOW_BITS = "raw"): Inflate {
    const inflate = new Inflate();
    const { inflateInit2_, zlibVersion } = zlib();
    inflate.#require(inflateInit2_(inflate.#stream, WINDOW_BITS[format], zlibVersion(), Z_STREAM.SIZE));
    return inflate;
  }

  /**
   * Begins anew, at a place in a stream.
   *
   * @param window up to 32 KiB of plain bytes before the place
   * @param bits how many bits of the byte before the place belong to what is behind it, 0 to 7, and their value
   */
  begin(window: Uint8Array, bits: number, value: number): void {
    const { inflateReset, inflatePrime, inflateSetDictionary } = zlib();
    this.#require(inflateReset(this.#stream));
    if (bits > 0) this.#require(inflatePrime(this.#stream, bits, value));
    if (window.length > 0) this.#require(inflateSetDictionary(this.#stream, window, window.length));
  }

  /**
   * Inflates as much as `source` gives and `destination` takes.
   *
   * @throws {ZlibError} for malformed bytes
   */
  run(source: Uint8Array, destination: Uint8Array): InflateStep {
    const view = this.#view;
    view.setBigUint64(Z_STREAM.nextIn, addressOf(source), true);
    view.setUint32(Z_STREAM.availIn, source.length, true);
    view.setBigUint64(Z_STREAM.nextOut, addressOf(destination), true);
    view.setUint32(Z_STREAM.availOut, destination.length, true);
    const code = zlib().inflate(this.#stream, Z.SYNC_FLUSH);
    if (code !== Z.STREAM_END && code !== Z.BUF_ERROR) this.#require(code);
    return {
      read: source.length - view.getUint32(Z_STREAM.availIn, true),
      written: destination.length - view.getUint32(Z_STREAM.availOut, true),
      ended: code === Z.STREAM_END,
    };
  }

  [Symbol.dispose](): void {
    if (!this.#ended) zlib().inflateEnd(this.#stream);
    this.#ended = true;
  }

  #require(code: number): void {
    if (code === Z.OK) return;
    const text = Deno.UnsafePointer.create(this.#view.getBigUint64(Z_STREAM.msg, true));
    throw new ZlibError(
      `Cannot inflate: ${text === null ? `code ${code}` : new Deno.UnsafePointerView(text).getCString()}`,
    );
  }
}

/** Valid as long as the bytes are referred to, and not moved by the runtime: those of an ArrayBuffer are not. */
function addressOf(bytes: Uint8Array): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>));
}
