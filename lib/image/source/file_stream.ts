/**
 * Reads a file as a stream.
 *
 * @module
 */

/** Bytes per read. */
const PIECE_BYTES = 256 << 10;

/** Yields the content of a file in newly allocated pieces. @throws {Deno.errors.NotFound} */
export async function* streamFile(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  using file = await Deno.open(path);
  for (;;) {
    signal.throwIfAborted();
    const piece = new Uint8Array(PIECE_BYTES);
    const length = await file.read(piece);
    if (length === null) return;
    yield piece.subarray(0, length);
  }
}
