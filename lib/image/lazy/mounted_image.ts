/**
 * The state of an image in the store, before and while it is mounted.
 *
 * @module
 */
import type { Backend } from "../../backend/blob_source.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import type { ImageMount } from "../../mount/image_mount.ts";
import type { ImageMounts } from "../../mount/image_mounts.ts";
import type { ImagePrefetch } from "./image_prefetch.ts";
import type { MountedImageReport } from "./images_report.ts";
import type { OpenImage } from "../open_image.ts";

/** A mounted image. */
export interface Mounted {
  readonly layer: LazyLayer;
  readonly session: ImageMounts;
  readonly image: OpenImage;
  readonly mount: ImageMount;
  readonly backend: Backend;
  /** Whether the mount continues that of an earlier process. */
  readonly continued: boolean;
  /** Whether programs may have read zeros from it while its files were not watched. */
  readonly isSuspect: boolean;
  prefetch: ImagePrefetch | undefined;
  /** Whether the image is being released: it must not be used any more. */
  closing: boolean;
  /** Resolves when the image is released. */
  closed: Promise<void>;
}

/** An image that is ready to be mounted. */
export interface OpenedImage {
  readonly number: number;
  readonly layer: LazyLayer;
  readonly image: OpenImage;
  readonly backend: Backend;
}

/** Returns the report of a mounted image and its holders. */
export function reportOf(
  { layer, image, mount, backend, prefetch }: Mounted,
  holders: readonly string[],
): MountedImageReport {
  return {
    layer,
    holders,
    home: backend.description,
    fsDriver: mount.fsDriver,
    refusal: mount.refusal,
    path: mount.path,
    misses: image.misses.total,
    missesPerSecond: image.misses.perSecond(),
    blobs: image.blobs.map((blob) => blob.stats()),
    prefetch: prefetch?.status,
  };
}
