/**
 * The original image beside the converted one: its manifest, configuration and layers as they are.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { O, open } from "../../../ffi/fcntl.ts";
import { writeAll } from "../../../ffi/unistd.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestAlgorithm, digestHex } from "../../oci/digest.ts";
import type { Platform } from "../../oci/platform.ts";
import { blobOf } from "../image_builder.ts";
import { streamBlob } from "./blob_stream.ts";
import type { ImageTarget } from "./image_target.ts";
import { platformOf } from "./nydus_manifests.ts";
import type { SourceManifest } from "./source_image.ts";

/** Copies what the target lacks. @returns the entry of the index */
export async function copyOriginal(
  { document, descriptor, parsed, content }: SourceManifest,
  platform: Platform,
  target: ImageTarget,
  signal: AbortSignal,
): Promise<object> {
  for (const blob of [...parsed.layers, parsed.config]) {
    if (await target.has(blob, signal)) continue;
    if (content.place !== undefined && await target.mount(blob, content.place, signal)) continue;
    const path = join(target.spoolDir, `${crypto.randomUUID()}.part`);
    try {
      await download(blob, path, streamBlob(content.blobs.blob(digestHex(blob.digest)), blob.size, signal));
      await target.putFile(blob, path, () => {}, signal);
    } finally {
      await ignore(Deno.errors.NotFound, Deno.remove(path));
    }
  }
  await target.putManifest(blobOf(document.mediaType, document.bytes), signal);
  const { mediaType, digest, size } = descriptor;
  return { mediaType, digest, size, platform: platformOf(platform) };
}

async function download({ digest }: Descriptor, path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const hash = createHash(digestAlgorithm(digest));
  using file = open(path, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600);
  for await (const piece of pieces) {
    writeAll(file, piece);
    hash.update(piece);
  }
  const actual = hash.digest("hex");
  if (actual === digestHex(digest)) return;
  throw new NydusGdError("corrupt", `Cannot copy blob ${digest}: its digest is ${actual}`);
}
