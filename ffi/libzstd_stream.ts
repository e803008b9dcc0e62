/**
 * Zstandard as a stream: any number of frames, one after the other, as parallel compressors and zstd:chunked write them,
 * with skippable ones between. The runtime's own stream ends with the first frame.
 *
 * Source: zstd.h 1.5.4, "Streaming decompression".
 *
 * @module
 */
import { load } from "./libc.ts";
import { ZstdError, zstdResult } from "./libzstd.ts";

const zstd = load("libzstd.so.1", "libzstd1", {
  ZSTD_createDStream: { parameters: [], result: "pointer" }, // ZSTD_DStream *ZSTD_createDStream(void)
  ZSTD_freeDStream: { parameters: ["pointer"], result: "usize" }, // size_t ZSTD_freeDStream(ZSTD_DStream *)
  // size_t ZSTD_decompressStream(ZSTD_DStream *, ZSTD_outBuffer *output, ZSTD_inBuffer *input)
  ZSTD_decompressStream: { parameters: ["pointer", "buffer", "buffer"], result: "usize", nonblocking: true },
});

/** Plain bytes that are had at once. */
const OUTPUT_BYTES = 256 << 10;

/**
 * The plain bytes in pieces, each valid until the next is asked for. It is another thread that decompresses.
 *
 * @throws {ZstdError} malformed, or cut off
 */
export async function* zstdStream(pieces: AsyncIterable<Uint8Array<ArrayBuffer>>): AsyncGenerator<Uint8Array> {
  const stream = zstd().ZSTD_createDStream();
  if (stream === null) throw new ZstdError("Cannot decompress zstd: no memory for a stream");
  const plain = new Uint8Array(OUTPUT_BYTES);
  const [output, input] = [new StreamBuffer(), new StreamBuffer()];
  /** Bytes that the frame in hand still wants, a guess; 0 at the end of one. */
  let wanted = 0;
  try {
    for await (const piece of pieces) {
      if (piece.length === 0) continue;
      input.set(piece);
      do {
        output.set(plain);
        wanted = zstdResult(await zstd().ZSTD_decompressStream(stream, output.struct, input.struct), "decompress");
        if (output.position > 0) yield plain.subarray(0, output.position);
        // what it holds back for want of room comes with the next call, which needs no input
      } while (input.position < piece.length || (output.position === plain.length && wanted !== 0));
    }
    if (wanted !== 0) throw new ZstdError("Cannot decompress zstd: it is cut off");
  } finally {
    zstd().ZSTD_freeDStream(stream);
  }
}

/** ZSTD_inBuffer and ZSTD_outBuffer on 64-bit Linux: `void *`, size, position. */
class StreamBuffer {
  readonly struct = new BigUint64Array(3);
  /** Kept, as the structure refers to it. */
  bytes = new Uint8Array(0);

  /** From the beginning of `bytes`. */
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
