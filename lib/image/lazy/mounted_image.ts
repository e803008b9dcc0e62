/**
 * An image of the store on its way into the kernel, and there.
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

/** One that is mounted. */
export interface Mounted {
  readonly layer: LazyLayer;
  readonly session: ImageMounts;
  readonly image: OpenImage;
  readonly mount: ImageMount;
  readonly backend: Backend;
  /** The mount of an earlier process goes on. */
  readonly continued: boolean;
  /** Programs may have read zeros from it while nobody watched over it. */
  readonly isSuspect: boolean;
  prefetch: ImagePrefetch | undefined;
  /** The image is being given back: nothing may begin to use it. */
  closing: boolean;
  /** Resolves when it was given back. */
  closed: Promise<void>;
}

/** An image that is ready to be mounted. */
export interface OpenedImage {
  readonly number: number;
  readonly layer: LazyLayer;
  readonly image: OpenImage;
  readonly backend: Backend;
}

/** What is told of it, and of those who stand on it. */
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
