/**
 * The digest of a file, read piece by piece.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** SHA-256 of a file's content, hexadecimal. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  const { readable } = await Deno.open(path); // closed with the stream
  for await (const piece of readable) hash.update(piece);
  return hash.digest("hex");
}
