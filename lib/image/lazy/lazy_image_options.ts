/**
 * Options and dependencies of `LazyImageStore`.
 *
 * @module
 */
import type { SizeLimit } from "../../base/setting_values.ts";
import type { BlobCache } from "../../blob/blob_cache.ts";
import type { LayersLeft, LazyLayer } from "../../layer/lazy_images.ts";
import type { DataPathChoice, FsDriver } from "../../mount/data_path.ts";
import type { KernelImages } from "../../mount/erofs/kernel_images.ts";
import type { ImageMounts, MountedBefore } from "../../mount/image_mounts.ts";
import type { BackendCandidate, PulledFrom } from "../choose_backend.ts";
import type { Command } from "../programs/command_files.ts";
import type { ImageNumbers } from "./image_numbers.ts";
import type { ImagePrefetchOptions } from "./image_prefetch.ts";
import type { MountRecord, RecordedLayer } from "./mount_record.ts";
import type { ReadRecorder } from "./read_recorder.ts";

/** Options of a `LazyImageStore`. */
export interface LazyImageStoreOptions {
  /** Existing folder for the recorded backend choices. */
  readonly stateDir: string;
  readonly cache: BlobCache;
  readonly numbers: ImageNumbers;
  /** Record of the mounted images, including those of an earlier process. */
  readonly record: MountRecord;
  /** Kernel images in the state folder that {@link startMounts} uses. */
  readonly kernelImages: KernelImages;
  /** Starts the session that serves all images. Not called again while the session lives. */
  readonly startMounts: (dataPath: DataPathChoice) => Promise<ImageMounts>;
  /**
   * Takes over the session of an earlier process by `ImageMounts.takeOver`, or cleans up after it if no keeper has it.
   */
  readonly takeOverMounts: (
    dataPath: DataPathChoice,
    images: () => Promise<readonly MountedBefore[]>,
  ) => ReturnType<typeof ImageMounts.takeOver>;
  /** Finds those of the layers that are mounted, if the record is lost. */
  readonly findMounted: (left: LayersLeft) => Promise<readonly RecordedLayer[]>;
  /** Timeout of the search for an image's blobs. */
  readonly deadlineMs: number;
  /**
   * Returns the backends that may have the blobs of a layer, in order of preference. `chosen`: the repository that was
   * chosen before, if a user named it.
   */
  readonly candidates: (layer: LazyLayer, chosen?: PulledFrom) => Promise<readonly BackendCandidate[]>;
  /** Resolves when the registry of a new layer is known, or is not going to be. */
  readonly whenPlaced: (layer: LazyLayer, signal: AbortSignal) => Promise<void>;
  /** Milliseconds for which a new image stays mounted without a container. Default 30,000. */
  readonly unusedMs?: number;
  /** The initial data path, until `useDataPath`. */
  readonly dataPath: DataPathChoice;
  /** Throws why images on a data path cannot be shown to user namespaces. */
  readonly requireIdmaps: (fsDriver: FsDriver) => void;
  /** Free space on the cache's file system below which a warning is reported and prefetch stops. */
  readonly minFree: SizeLimit;
  /** Returns the prefetch scope of a newly mounted image; undefined: no prefetch. Called for each mount. */
  readonly prefetch: () => ImagePrefetchOptions["scope"] | undefined;
  /** Creates the recorder of starting containers' reads for each opened image. Undefined: nothing is recorded. */
  readonly recorder: ((bootstrapPath: string) => ReadRecorder) | undefined;
  /** Returns the command of the container whose layer is stacked on an image; undefined: not known. */
  readonly commandOf: (layer: LazyLayer, holder: string) => Promise<Command | undefined> | undefined;
  /** Called when a layer has arrived. */
  readonly onArrived: (layer: LazyLayer) => void;
  /** Called after a layer is removed and its image unmounted; the image may still be in use. */
  readonly onForgotten: (layer: LazyLayer) => Promise<void>;
  /** Whether to verify inode digests on mount (inode_digests.ts). Called for each mount. */
  readonly validate: () => boolean;
}
