/**
 * Images that are understood and refused by name, because their data cannot be read yet.
 *
 * @module
 */
import type { BlobDescriptor } from "./bootstrap.ts";
import { BLOB_FEATURE, has, IMAGE_FLAG } from "./flags.ts";
import { refuse } from "./guard.ts";

/** How a bootstrap is opened. */
export interface OpenOptions {
  /** Opens images whose tree can be read although their data cannot, for inspection. */
  readonly treeOnly?: boolean;
}

const REFUSED: readonly (readonly [feature: number, name: string])[] = [
  [BLOB_FEATURE.tarfs, "TARFS (data blob is a tar)"],
  [BLOB_FEATURE.encrypted, "encrypted"],
  [BLOB_FEATURE.zran, "ZRAN (data in a gzip layer)"],
  [BLOB_FEATURE.separate, "SEPARATE (data in a layer of its own)"],
  [BLOB_FEATURE.external, "EXTERNAL (data outside the registry)"],
];

/** Fails with code "unsupported" when the data of an image with these flags and blobs cannot be read. */
export function refuseUnsupported(flags: number, blobs: readonly BlobDescriptor[]): void {
  if (has(flags, IMAGE_FLAG.tarfs)) refuse("RAFS image", "TARFS images are not supported");
  for (const blob of blobs) {
    for (const [feature, name] of REFUSED) {
      if (has(blob.features, feature)) refuse(`RAFS image with blob ${blob.id}`, `${name} blobs are not supported`);
    }
  }
  if (has(flags, IMAGE_FLAG.encryptionAes128Xts)) refuse("RAFS image", "encrypted images are not supported");
}
