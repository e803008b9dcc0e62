/**
 * zlib's inflate: for whole gzip members, and for raw streams, where it can start in the middle when given the
 * preceding window and bits.
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
  // int inflateGetDictionary(z_streamp strm, Bytef *dictionary, uInt *dictLength)
  inflateGetDictionary: { parameters: ["buffer", "buffer", "buffer"], result: "i32" },
  inflatePrime: { parameters: ["buffer", "i32", "i32"], result: "i32" }, // int inflatePrime(z_streamp, int bits, int value)
  inflate: { parameters: ["buffer", "i32"], result: "i32" }, // int inflate(z_streamp strm, int flush)
  inflateEnd: { parameters: ["buffer"], result: "i32" }, // int inflateEnd(z_streamp strm)
});

/**
 * Loads the library and returns its version: "1.2.13".
 *
 * @throws {MissingLibraryError} when it cannot be loaded
 */
export function zlibVersion(): string {
  const text = zlib().zlibVersion();
  return text === null ? "unknown" : new Deno.UnsafePointerView(text).getCString();
}

/** z_stream on 64-bit Linux: byte offsets. */
const Z_STREAM = { SIZE: 112, nextIn: 0, availIn: 8, nextOut: 24, availOut: 32, msg: 48, dataType: 88 } as const;

const Z = { OK: 0, STREAM_END: 1, BUF_ERROR: -5, SYNC_FLUSH: 2, BLOCK: 5 } as const;

/** What data_type says after a step that may end at a block: unused bits of the last byte read, and where it ended. */
const DATA_TYPE = { bits: 7, lastBlock: 64, blockEnd: 128 } as const;

/** Bytes of a full window. */
export const WINDOW_BYTES = 32 << 10;

/** Window of 32 KiB: raw deflate, or deflate with gzip header and trailer. */
const WINDOW_BITS = { raw: -15, gzip: 16 + 15 } as const;

/** Error of zlib: `Cannot inflate: invalid distance too far back`. */
export class ZlibError extends Error {
  override readonly name = "ZlibError";
}

/** Bytes consumed and produced by one step. */
export interface InflateStep {
  readonly read: number;
  readonly written: number;
  /** Whether the stream ended at the last byte read. */
  readonly ended: boolean;
}

/** A step of {@link Inflate.runBlock}. */
export interface BlockStep extends InflateStep {
  /** Where a block begins after the last byte read: how many high bits of that byte belong to it. Otherwise undefined. */
  readonly blockBits: number | undefined;
}

/**
 * Inflates one gzip member and verifies its checksum.
 *
 * @returns bytes written
 * @throws {ZlibError} when the member is malformed, truncated or larger than `destination`
 */
export function gunzip(source: Uint8Array, destination: Uint8Array): number {
  using inflate = Inflate.open("gzip");
  const { written, ended } = inflate.run(source, destination);
  if (!ended) throw new ZlibError(`Cannot inflate: no end after ${source.length} and ${written} bytes`);
  return written;
}

/** A deflate stream. */
export class Inflate implements Disposable {
  /** The library keeps the address of this buffer. */
  readonly #stream = new Uint8Array(Z_STREAM.SIZE);
  readonly #view = new DataView(this.#stream.buffer);
  #ended = false;

  private constructor() {}

  /** @throws {MissingLibraryError}; {ZlibError} when out of memory */
  static open(format: keyof typeof WINDOW_BITS = "raw"): Inflate {
    const inflate = new Inflate();
    const { inflateInit2_, zlibVersion } = zlib();
    inflate.#require(inflateInit2_(inflate.#stream, WINDOW_BITS[format], zlibVersion(), Z_STREAM.SIZE));
    return inflate;
  }

  /**
   * Restarts at a point in a stream.
   *
   * @param window up to 32 KiB of plain bytes before the point
   * @param bits number of bits of the preceding byte that belong to the stream, 0 to 7
   * @param value value of those bits
   */
  begin(window: Uint8Array, bits: number, value: number): void {
    const { inflateReset, inflatePrime, inflateSetDictionary } = zlib();
    this.#require(inflateReset(this.#stream));
    if (bits > 0) this.#require(inflatePrime(this.#stream, bits, value));
    if (window.length > 0) this.#require(inflateSetDictionary(this.#stream, window, window.length));
  }

  /**
   * Inflates until `source` is consumed or `destination` is full.
   *
   * @throws {ZlibError} when the data are malformed
   */
  run(source: Uint8Array, destination: Uint8Array): InflateStep {
    return this.#step(source, destination, Z.SYNC_FLUSH);
  }

  /**
   * Like {@link run}, but also ends where a block does, and after the header of a gzip member.
   *
   * @throws {ZlibError} when the data are malformed
   */
  runBlock(source: Uint8Array, destination: Uint8Array): BlockStep {
    const step = this.#step(source, destination, Z.BLOCK);
    const type = this.#view.getUint32(Z_STREAM.dataType, true);
    const isStart = !step.ended && (type & (DATA_TYPE.blockEnd | DATA_TYPE.lastBlock)) === DATA_TYPE.blockEnd;
    return { ...step, blockBits: isStart ? type & DATA_TYPE.bits : undefined };
  }

  /** Restarts for another stream of the same format. */
  reset(): void {
    this.#require(zlib().inflateReset(this.#stream));
  }

  /**
   * Copies the window, which is what {@link begin} needs at this point.
   *
   * @param window of {@link WINDOW_BYTES}
   * @returns bytes copied
   */
  copyWindow(window: Uint8Array): number {
    const length = new Uint32Array(1);
    this.#require(zlib().inflateGetDictionary(this.#stream, window, length));
    return length[0] as number;
  }

  #step(source: Uint8Array, destination: Uint8Array, flush: number): InflateStep {
    const view = this.#view;
    view.setBigUint64(Z_STREAM.nextIn, addressOf(source), true);
    view.setUint32(Z_STREAM.availIn, source.length, true);
    view.setBigUint64(Z_STREAM.nextOut, addressOf(destination), true);
    view.setUint32(Z_STREAM.availOut, destination.length, true);
    const code = zlib().inflate(this.#stream, flush);
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

/** Valid while the bytes are referenced: the runtime does not move the memory of an ArrayBuffer. */
function addressOf(bytes: Uint8Array): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>));
}
