/**
 * A file as a stream of pieces.
 *
 * @module
 */

/** Bytes that are read at once. */
const PIECE_BYTES = 256 << 10;

/** The pieces of a file, from its beginning, each in memory of its own. @throws {Deno.errors.NotFound} */
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
