/**
 * Copies the referrers of an image that is copied: signatures, bills of materials, attestations.
 *
 * Referrers name the digest of their subject. They stay valid for a copy, but not for the converted image, which has
 * another digest and must be signed anew. An image in nydus's format that refers to the original is not copied, because
 * the index has one.
 *
 * @module
 */
import { logger } from "../../../base/log.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import type { Digest } from "../../../oci/digest.ts";
import { bootstrapLayer, parseManifestDocument } from "../../../oci/manifest.ts";
import { isManifestType } from "../../../oci/media_types.ts";
import { blobOf, type ImageBlob } from "../../build/image_builder.ts";
import { copyBlob } from "./copy_blob.ts";
import type { ImageContent } from "../source/image_content.ts";
import type { ImageTarget } from "../target/image_target.ts";

/** Maximum depth of referrers of referrers, e.g. a signature of a bill of materials. */
const MAX_DEPTH = 3;

const log = logger("image");

/** From where to where an image is copied. */
export interface ImageCopy {
  readonly content: ImageContent;
  readonly target: ImageTarget;
  readonly signal: AbortSignal;
}

/** Copies everything that refers to the manifest `subject`, which is at the target. */
export async function copyReferrers(subject: Digest, copy: ImageCopy, depth = MAX_DEPTH): Promise<void> {
  if (depth === 0) return;
  const { content, target, signal } = copy;
  for (const referrer of await content.referrers(subject, signal)) {
    const manifest = await copyParts(referrer, copy);
    if (manifest === undefined) continue;
    await target.putReferrer(manifest, signal);
    await copyReferrers(referrer.digest, copy, depth - 1);
  }
}

/** Copies attestations in the index of the original, as made by BuildKit. @returns their entries */
export async function copyAttestations(attestations: readonly Descriptor[], copy: ImageCopy): Promise<Descriptor[]> {
  const copied: Descriptor[] = [];
  for (const entry of attestations) {
    const manifest = await copyParts(entry, copy);
    if (manifest === undefined) continue;
    await copy.target.putManifest(manifest, copy.signal);
    copied.push(entry);
  }
  return copied;
}

/** Copies the blobs of a manifest. @returns the manifest; undefined for one that is not copied */
async function copyParts(
  descriptor: Descriptor,
  { content, target, signal }: ImageCopy,
): Promise<ImageBlob | undefined> {
  const { digest, mediaType } = descriptor;
  if (!isManifestType(mediaType)) {
    log.warn("referrers of the image not copied", { digest, reason: `its media type is ${mediaType}` });
    return undefined;
  }
  const document = await content.document(descriptor, signal);
  const parsed = parseManifestDocument(document.bytes, document.mediaType);
  if (parsed.kind === "index" || bootstrapLayer(parsed.manifest) !== undefined) return undefined;
  const { config, layers } = parsed.manifest;
  for (const blob of [...layers, config]) await copyBlob(blob, content, target, signal);
  return blobOf(document.mediaType, document.bytes);
}
