/**
 * Images that are understood and refused by name, because their data cannot be read yet.
 *
 * @module
 */
import type { BlobDescriptor } from "./bootstrap.ts";
import { BLOB_FEATURE, has } from "./flags.ts";
import { refuse } from "./guard.ts";

/** How a bootstrap is opened. */
export interface OpenOptions {
  /** Opens images whose tree can be read although their data cannot, for inspection. */
  readonly treeOnly?: boolean;
}

/** Fails with code "unsupported" when the data of an image with these blobs cannot be read. */
export function refuseUnsupported(blobs: readonly BlobDescriptor[]): void {
  for (const { id, features } of blobs) {
    if (!has(features, BLOB_FEATURE.external)) continue;
    refuse(`RAFS image with blob ${id}`, "EXTERNAL blobs (data outside the registry) are not supported");
  }
}
