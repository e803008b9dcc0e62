/**
 * Computes the digest of a file.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** Larger than a stream's chunks of 64 KiB, each of which would take a turn of the event loop. */
const PIECE_BYTES = 1 << 20;

/** Returns the SHA-256 of a file's content in hexadecimal. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  const piece = new Uint8Array(PIECE_BYTES);
  using file = await Deno.open(path);
  for (;;) {
    const length = await file.read(piece);
    if (length === null) return hash.digest("hex");
    hash.update(piece.subarray(0, length));
  }
}
