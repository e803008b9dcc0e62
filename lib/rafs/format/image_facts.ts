/**
 * What super block and blob table say about an image, the same for v5 and v6.
 *
 * @module
 */
import type { BlobDescriptor } from "../bootstrap.ts";
import { BLOB_FEATURE, has, IMAGE_FLAG } from "./flags.ts";

/** The fields of a super block that both versions have. */
export interface SuperBlockFacts {
  readonly inodeCount: number;
  readonly chunkSize: number;
  readonly flags: number;
}

/** The facts of a `Bootstrap`, which a reader of either version extends by the tree. */
export abstract class ImageFacts {
  readonly byteLength: number;
  readonly inodeCount: number;
  readonly chunkSize: number;
  readonly explicitUidGid: boolean;
  readonly hasXattrs: boolean;
  readonly flags: number;

  protected constructor(
    /** The whole bootstrap. */
    readonly bytes: Uint8Array,
    { inodeCount, chunkSize, flags }: SuperBlockFacts,
    readonly blobs: readonly BlobDescriptor[],
  ) {
    this.byteLength = bytes.length;
    this.inodeCount = inodeCount;
    this.chunkSize = chunkSize;
    this.flags = flags;
    this.explicitUidGid = has(flags, IMAGE_FLAG.explicitUidGid);
    // nydus-image 2.0 set the flag of v6 images only for extended attributes of directories.
    const isOld = blobs.length > 0 &&
      blobs.every(({ meta, features }) => meta && !has(features, BLOB_FEATURE.capTarToc));
    this.hasXattrs = isOld || has(flags, IMAGE_FLAG.hasXattr);
  }

  get dataBytes(): number {
    return this.blobs.reduce((sum, blob) => sum + blob.uncompressedSize, this.byteLength);
  }
}
