/**
 * Copies the original image next to the converted one: manifest, configuration and layers unchanged, with everything
 * that refers to it.
 *
 * @module
 */
import { writtenPlatform } from "../../../oci/index_entry.ts";
import type { Platform } from "../../../oci/platform.ts";
import { blobOf } from "../../build/image_builder.ts";
import { copyBlob } from "./copy_blob.ts";
import { copyAttestations, copyReferrers, type ImageCopy } from "./copy_referrers.ts";
import type { ImageTarget } from "../target/image_target.ts";
import type { SourceManifest } from "../source/source_image.ts";

/** Copies what the target lacks. @returns the entries for the index, the image first */
export async function copyOriginal(
  { document, descriptor, parsed, content, attestations }: SourceManifest,
  platform: Platform,
  target: ImageTarget,
  signal: AbortSignal,
): Promise<object[]> {
  const copy: ImageCopy = { content, target, signal };
  for (const blob of [...parsed.layers, parsed.config]) await copyBlob(blob, content, target, signal);
  await target.putManifest(blobOf(document.mediaType, document.bytes), signal);
  const { mediaType, digest, size } = descriptor;
  await copyReferrers(digest, copy);
  return [
    { mediaType, digest, size, platform: writtenPlatform(platform) },
    ...await copyAttestations(attestations, copy),
  ];
}
