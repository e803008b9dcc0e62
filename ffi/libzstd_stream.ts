/**
 * Zstandard streams of any number of consecutive frames, with skippable frames in between, as written by parallel
 * compressors and zstd:chunked. The runtime's own stream ends after the first frame.
 *
 * Source: zstd.h 1.5.4, "Streaming decompression".
 *
 * @module
 */
import { load } from "./libc.ts";
import { ZstdError, zstdResult } from "./libzstd.ts";

const zstd = load("libzstd.so.1", "libzstd1", {
  ZSTD_createDStream: { parameters: [], result: "pointer" }, // ZSTD_DStream *ZSTD_createDStream(void)
  // size_t ZSTD_DCtx_setParameter(ZSTD_DCtx *, ZSTD_dParameter, int value)
  ZSTD_DCtx_setParameter: { parameters: ["pointer", "i32", "i32"], result: "usize" },
  ZSTD_freeDStream: { parameters: ["pointer"], result: "usize" }, // size_t ZSTD_freeDStream(ZSTD_DStream *)
  // size_t ZSTD_decompressStream(ZSTD_DStream *, ZSTD_outBuffer *output, ZSTD_inBuffer *input)
  ZSTD_decompressStream: { parameters: ["pointer", "buffer", "buffer"], result: "usize", nonblocking: true },
});

/** ZSTD_d_windowLogMax, and its value: containerd and Docker read windows of up to 512 MiB, too. */
const WINDOW_LOG_MAX = 100, MAX_WINDOW_LOG = 29;

/** Maximum plain bytes per piece. */
const OUTPUT_BYTES = 256 << 10;

/**
 * Yields the plain bytes in pieces, each valid until the next is requested. Decompresses on another thread.
 *
 * @throws {ZstdError} when the data are malformed or truncated, or a frame's window exceeds 512 MiB. Memory for a window
 * is used as far as the frame has data.
 */
export async function* zstdStream(pieces: AsyncIterable<Uint8Array<ArrayBuffer>>): AsyncGenerator<Uint8Array> {
  const stream = zstd().ZSTD_createDStream();
  if (stream === null) throw new ZstdError("Cannot decompress zstd: no memory for a stream");
  using cleanup = new DisposableStack();
  cleanup.defer(() => zstd().ZSTD_freeDStream(stream));
  zstdResult(zstd().ZSTD_DCtx_setParameter(stream, WINDOW_LOG_MAX, MAX_WINDOW_LOG), "decompress");
  const plain = new Uint8Array(OUTPUT_BYTES);
  const [output, input] = [new StreamBuffer(), new StreamBuffer()];
  /** libzstd's estimate of the bytes still needed for the current frame; 0 at the end of a frame. */
  let wanted = 0;
  for await (const piece of pieces) {
    if (piece.length === 0) continue;
    input.set(piece);
    do {
      output.set(plain);
      wanted = zstdResult(await zstd().ZSTD_decompressStream(stream, output.struct, input.struct), "decompress");
      if (output.position > 0) yield plain.subarray(0, output.position);
      // Output withheld for lack of space comes with the next call, which needs no input.
    } while (input.position < piece.length || (output.position === plain.length && wanted !== 0));
  }
  if (wanted !== 0) throw new ZstdError("Cannot decompress zstd: it is cut off");
}

/** ZSTD_inBuffer and ZSTD_outBuffer on 64-bit Linux: `void *`, size, position. */
class StreamBuffer {
  readonly struct = new BigUint64Array(3);
  /** Referenced because the struct points to it. */
  bytes = new Uint8Array(0);

  /** Points to the beginning of `bytes`. */
  set(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes;
    this.struct[0] = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
    this.struct[1] = BigInt(bytes.length);
    this.struct[2] = 0n;
  }

  get position(): number {
    return Number(this.struct[2]);
  }
}
