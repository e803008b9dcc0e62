/**
 * Refuses images that are recognized but whose data cannot be read.
 *
 * @module
 */
import type { BlobDescriptor } from "../bootstrap.ts";
import { BLOB_FEATURE, has } from "./flags.ts";
import { refuse } from "./guard.ts";

/** Options for opening a bootstrap. */
export interface OpenOptions {
  /** Opens images for inspection even if only their tree, but not their data, can be read. */
  readonly treeOnly?: boolean;
}

/** Fails with code "unsupported" when the data of one of the blobs cannot be read. */
export function refuseUnsupported(blobs: readonly BlobDescriptor[]): void {
  for (const { id, features } of blobs) {
    if (!has(features, BLOB_FEATURE.external)) continue;
    refuse(`RAFS image with blob ${id}`, "EXTERNAL blobs (data outside the registry) are not supported");
  }
}
