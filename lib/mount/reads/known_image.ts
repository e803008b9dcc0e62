/**
 * An image as its server knows it.
 *
 * @module
 */
import type { MountableImage, OpenBlob } from "../image_mount.ts";

/** State that the main thread keeps per image. */
export interface KnownImage {
  readonly number: number;
  readonly image: MountableImage;
  /** Open blobs, by `blobIndex` of extents. */
  readonly blobs: (OpenBlob | undefined)[];
}
