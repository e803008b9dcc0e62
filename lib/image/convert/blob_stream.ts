/**
 * A whole blob in pieces, the next one on its way while one is used.
 *
 * Pieces are ranges, so that a connection that is lost costs one piece.
 *
 * @module
 */
import { unshared } from "../../base/bytes.ts";
import type { BlobSource } from "../../backend/blob_source.ts";

/** Bytes of a piece: two of them are in memory. */
const PIECE_BYTES = 4 << 20;

/** The first `size` bytes of a blob. @throws what the source throws */
export async function* streamBlob(
  source: BlobSource,
  size: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const read = (offset: number) => {
    if (offset >= size) return undefined;
    const piece = source.read(offset, Math.min(PIECE_BYTES, size - offset), { priority: "on-demand", signal });
    piece.catch(() => {}); // told when its turn comes
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
