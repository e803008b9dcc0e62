/**
 * Options and dependencies of `LazyImageStore`.
 *
 * @module
 */
import type { SizeLimit } from "../../base/setting_values.ts";
import type { LayersLeft, LazyLayer } from "../../layer/lazy/lazy_images.ts";
import type { FsDriver } from "../../mount/data_path.ts";
import type { KernelImages } from "../../mount/erofs/kernel_images.ts";
import type { Command } from "../programs/command_files.ts";
import type { ImageOpenerOptions } from "./open/image_opener.ts";
import type { ImagePrefetchOptions } from "../prefetch/image_prefetch.ts";
import type { ImageServerOptions } from "./mounted/image_server.ts";
import type { MountRecord, RecordedLayer } from "./records/mount_record.ts";

/** Options of a `LazyImageStore`. */
export interface LazyImageStoreOptions extends ImageOpenerOptions, ImageServerOptions {
  /** Record of the mounted images, including those of an earlier process. */
  readonly record: MountRecord;
  /** Kernel images in the state folder that `startMounts` uses. */
  readonly kernelImages: KernelImages;
  /** Finds those of the layers that are mounted, if the record is lost. */
  readonly findMounted: (left: LayersLeft) => Promise<readonly RecordedLayer[]>;
  /** Resolves when the registry of a new layer is known, or is not going to be. */
  readonly whenPlaced: (layer: LazyLayer, signal: AbortSignal) => Promise<void>;
  /** Milliseconds for which a new image stays mounted without a container. Default 30,000. */
  readonly unusedMs?: number;
  /** Throws why images on a data path cannot be shown to user namespaces. */
  readonly requireIdmaps: (fsDriver: FsDriver) => void;
  /** Free space on the cache's file system below which a warning is reported and prefetch stops. */
  readonly minFree: SizeLimit;
  /** Returns the prefetch scope of a newly mounted image; undefined: no prefetch. Called for each mount. */
  readonly prefetch: () => ImagePrefetchOptions["scope"] | undefined;
  /** Returns the command of the container whose layer is stacked on an image; undefined: not known. */
  readonly commandOf: (layer: LazyLayer, holder: string) => Promise<Command | undefined> | undefined;
  /** Called when a layer has arrived. */
  readonly onArrived: (layer: LazyLayer) => void;
  /** Called after a layer is removed and its image unmounted; the image may still be in use. */
  readonly onForgotten: (layer: LazyLayer) => Promise<void>;
}
