/**
 * Streams a whole blob in pieces, fetching the next piece while one is used.
 *
 * @module
 */
import { unshared } from "../../base/bytes.ts";
import type { BlobSource } from "../../backend/blob_source.ts";

/** Bytes of a piece. Two pieces are in memory. */
const PIECE_BYTES = 4 << 20;

/** All bytes of a blob of `size` bytes. @throws what the source throws */
export async function* streamBlob(
  source: BlobSource,
  size: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  if (source.stream !== undefined) {
    for await (const piece of source.stream(size, signal)) yield unshared(piece);
    return;
  }
  const read = (offset: number) => {
    if (offset >= size) return undefined;
    const piece = source.read(offset, Math.min(PIECE_BYTES, size - offset), { priority: "on-demand", signal });
    piece.catch(() => {}); // the error is reported when its turn comes
    return piece;
  };
  let next = read(0);
  for (let offset = 0; next !== undefined;) {
    const piece = await next;
    offset += piece.length;
    next = read(offset);
    yield unshared(piece);
  }
}
