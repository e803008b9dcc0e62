/**
 * Counts the bytes of a stream, for display.
 *
 * @module
 */

/** Receives the number of bytes that were read or stored. */
export type OnBytes = (bytes: number) => void;

/** Passes pieces through and reports their sizes. */
export async function* counted<T extends Uint8Array>(pieces: AsyncIterable<T>, onBytes: OnBytes): AsyncGenerator<T> {
  for await (const piece of pieces) {
    yield piece;
    onBytes(piece.length);
  }
}
