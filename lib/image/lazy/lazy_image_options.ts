/**
 * The surroundings of the lazy images of one server.
 *
 * @module
 */
import type { SizeLimit } from "../../base/setting_values.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import type { DataPathChoice } from "../../mount/choose.ts";
import type { KernelImages } from "../../mount/erofs/kernel_images.ts";
import type { ImageMounts, MountedBefore } from "../../mount/image_mounts.ts";
import type { Candidate } from "../blob_home.ts";
import type { ImageNumbers } from "./image_numbers.ts";
import type { ImagePrefetchOptions } from "./image_prefetch.ts";
import type { MountedImages } from "./mounted_images.ts";
import type { ReadRecorder } from "./read_recorder.ts";

/** What a `LazyImageStore` works with. */
export interface LazyImageStoreOptions {
  /** Folder for the choices of homes; exists. */
  readonly stateDir: string;
  readonly cache: BlobCache;
  readonly numbers: ImageNumbers;
  /** What an earlier process had mounted, and what is. */
  readonly record: MountedImages;
  /** Of the state folder that {@link startMounts} mounts with. */
  readonly kernelImages: KernelImages;
  /** Starts what serves every image. Called at most once while it succeeds. */
  readonly startMounts: (dataPath: DataPathChoice) => Promise<ImageMounts>;
  /** `ImageMounts.takeOver` of what an earlier process left; where nobody has it, nothing of it is left. */
  readonly takeOverMounts: (
    dataPath: DataPathChoice,
    images: () => Promise<readonly MountedBefore[]>,
  ) => ReturnType<typeof ImageMounts.takeOver>;
  /** How long the search for the blobs of an image may take. */
  readonly deadlineMs: number;
  /** Homes that may have the blobs of a layer, in order of preference. */
  readonly candidates: (layer: LazyLayer) => Promise<readonly Candidate[]>;
  /** Until `useDataPath` says another. */
  readonly dataPath: DataPathChoice;
  /** Space on the cache's file system below which it is told, and nothing is prefetched. */
  readonly minFree: SizeLimit;
  /** What of an image is prefetched when it is mounted; undefined: nothing. Asked each time. */
  readonly prefetch?: () => ImagePrefetchOptions["scope"] | undefined;
  /** Makes what records the reads of starting containers, for each image that is opened; undefined: nothing is. */
  readonly recorder?: ((bootstrapPath: string) => ReadRecorder) | undefined;
  /** The layer is gone, and its image is not mounted any more; it may still be in use. */
  readonly onForgotten?: (layer: LazyLayer) => Promise<void>;
  /** Whether digests of files are to be checked when an image is mounted: inode_digests.ts. Asked each time. */
  readonly validate?: () => boolean;
}
