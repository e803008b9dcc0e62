/**
 * Copies a blob between repositories or layouts, unchanged.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ignore, NydusGdError } from "../../../base/errors.ts";
import { type Digest, digestAlgorithm, digestHex } from "../../../oci/digest.ts";
import { SpoolFile } from "../../source/spool_file.ts";
import { streamBlob } from "../../source/blob_stream.ts";
import type { BlobHome } from "../source/image_content.ts";
import type { ImageTarget } from "../target/image_target.ts";

/**
 * Ensures that the target has the blob: mounts it if both are in one registry, otherwise copies it.
 *
 * @throws {NydusGdError} "corrupt" if its bytes do not match its digest
 */
export async function copyBlob(
  blob: { readonly digest: Digest; readonly size: number },
  { blobs, place }: BlobHome,
  target: ImageTarget,
  signal: AbortSignal,
): Promise<void> {
  if (await target.has(blob, signal)) return;
  if (place !== undefined && await target.mount(blob, place, signal)) return;
  const path = await target.spoolPath();
  try {
    await download(blob.digest, path, streamBlob(blobs.blob(digestHex(blob.digest)), blob.size, signal));
    await target.putFile(blob, path, () => {}, signal);
  } finally {
    await ignore(Deno.errors.NotFound, Deno.remove(path));
  }
}

async function download(digest: Digest, path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const hash = createHash(digestAlgorithm(digest));
  using file = SpoolFile.create(path, `copy blob ${digest}`);
  for await (const piece of pieces) {
    file.write(piece);
    hash.update(piece);
  }
  const actual = hash.digest("hex");
  if (actual === digestHex(digest)) return;
  throw new NydusGdError("corrupt", `Cannot copy blob ${digest}: its digest is ${actual}`);
}
