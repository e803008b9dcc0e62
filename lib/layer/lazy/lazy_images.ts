/**
 * Interface between the layer store and lazy images.
 *
 * A layer whose files are an image's bootstrap stands for the whole merged file system of the layers below it
 * (bootstrap_layer.ts). The store handles overlays, not images: it passes the bootstrap on and gets a folder to
 * stack its overlays on. Mounts are counted by holder, the id of the layer that is stacked on the image: a holder
 * counts once however often it asks, and the image may be unmounted when the last holder has released it.
 *
 * ```
 * ApplyDiff ── verify(bootstrap)          refuses what could never be mounted
 *           ── prepare(layer)             once it is answered
 * Get       ── acquire(layer, holder)     ──► { path, fsDriver }
 * Put       ── release(layer.id, holder)
 * restart   ── hold(layer, holder)        for what is mounted by others
 * Remove    ── forget(layer.id)
 * ```
 *
 * @module
 */
import type { IdMaps } from "../userns/id_maps.ts";

/** A finished bootstrap layer. */
export interface LazyLayer {
  readonly id: string;
  /** Absolute path of the bootstrap in the layer. */
  readonly bootstrapPath: string;
  /** "sha256:…" of the layer's tar; absent for a layer that did not come as a tar. */
  readonly diffId?: string;
  /** The store's home; that of a graph driver is beside Docker's own records. */
  readonly home: string;
  /**
   * Image reference by which the layer was pulled, as containerd passed it on. Anybody who writes an image can make some
   * of containerd's clients pass on another one, so it is a claim of the image.
   */
  readonly reference?: string;
}

/** What an earlier process may have left mounted, as the disk and mountinfo tell. */
export interface LayersLeft {
  /** All bootstrap layers. */
  readonly all: readonly LazyLayer[];
  /** Those that layers which are mounted, or may be, are stacked on. */
  readonly inUse: readonly LazyLayer[];
}

/** An image that is visible in the file system. */
export interface LazyMount {
  /** Absolute path of the image's root. */
  readonly path: string;
  /** Name of the data path: "fuse", "erofs-fanotify", … */
  readonly fsDriver: string;
  /** The same mount that an earlier process made: overlays on it have lost nothing. */
  readonly continued: boolean;
  /**
   * Whether overlays that were on it when this process started may have read zeros, because it was unguarded for a
   * while.
   */
  readonly isSuspect: boolean;
}

/** Attributes that the root of a layer on top of an image gets. */
export interface ImageRoot {
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Interface of the layer store to lazy images. */
export interface LazyImages {
  /**
   * Checks that the bootstrap can be mounted: its structure, not its blobs. Uses no network.
   *
   * @param idMaps of the containers' user namespace, to which the mount will be mapped; absent: ids are the host's
   * @returns the root of layers on top of it
   * @throws {NydusGdError} "invalid-image" for a truncated or foreign file, or an owner that `idMaps` does not map;
   * "unsupported" for features that are refused, or if mounts cannot be mapped here
   */
  verify(bootstrapPath: string, idMaps?: IdMaps): Promise<ImageRoot>;
  /** The layer has arrived: prepare in the background what its first mount would wait for. */
  prepare(layer: LazyLayer): void;
  /**
   * Mounts the image of `layer`, or returns its existing mount. Also called for mounts that outlived a restart; the
   * path must then be the same.
   *
   * @param holder id of the layer that is stacked on the image
   * @throws {NydusGdError} if it cannot be mounted; `holder` then holds nothing
   */
  acquire(layer: LazyLayer, holder: string, signal?: AbortSignal): Promise<LazyMount>;
  /**
   * Like {@link acquire}, but only if the image is mounted; otherwise returns undefined, and `holder` holds nothing. For
   * overlays that others mounted and may still use.
   */
  hold(layer: LazyLayer, holder: string): LazyMount | undefined;
  /** Releases the image from `holder`. A holder that holds nothing is no error. */
  release(layerId: string, holder: string): Promise<void>;
  /**
   * The layer is being removed: unmounts its image and drops everything kept for it.
   *
   * @param layer undefined if the layer's files are damaged
   */
  forget(layerId: string, layer: LazyLayer | undefined): Promise<void>;
  /** Details of the layer for `docker inspect`: kind, bootstrap, fs_driver, blobs. */
  describe(layer: LazyLayer): Promise<Record<string, string>>;
  /** Rows for `docker info`. */
  status(): Promise<[string, string][]>;
}
