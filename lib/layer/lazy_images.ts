/**
 * What the layer store asks of the image side.
 *
 * A layer whose files are an image's bootstrap stands for the whole merged file system of the layers below it
 * (bootstrap_layer.ts). The store knows overlays, not images: it hands the bootstrap over and gets a folder to put
 * below its overlays. Mounts are counted by holder, the id of the layer that is stacked on the image: a holder counts
 * once however often it asks, and the image may be unmounted when the last holder has let go.
 *
 * ```
 * ApplyDiff ── verify(bootstrap)          refuses what could never be mounted
 *           ── prepare(layer)             once it is answered
 * Get       ── acquire(layer, holder)     ──► { path, fsDriver }
 * Put       ── release(layer.id, holder)
 * Remove    ── forget(layer.id)
 * ```
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** A finished bootstrap layer. */
export interface LazyLayer {
  readonly id: string;
  /** Absolute path of the bootstrap in the layer. */
  readonly bootstrapPath: string;
  /** "sha256:…" of the layer's tar; absent for a layer that never came as a tar. */
  readonly diffId?: string;
  /** The store's home: Docker's own records are beside it. */
  readonly home: string;
}

/** An image that is visible in the file system. */
export interface LazyMount {
  /** Absolute path of the image's root. */
  readonly path: string;
  /** Name of the data path: "fuse", "erofs-fanotify", … */
  readonly fsDriver: string;
  /** It is the very mount that an earlier process made: what stands on it has lost nothing. */
  readonly continued: boolean;
  /** What stood on it when this process began may have read zeros: nobody watched over it for a while. */
  readonly isSuspect: boolean;
}

/** Attributes of an image's root folder; the root of a layer on top of it takes them over. */
export interface ImageRoot {
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** The image side of the layer store. */
export interface LazyImages {
  /**
   * Checks that the bootstrap can be mounted: its structure, not its blobs. No network.
   *
   * @throws {NydusGdError} "invalid-image" for a truncated or alien file, "unsupported" for what is refused by name
   */
  verify(bootstrapPath: string): Promise<ImageRoot>;
  /** The layer has come: what its first mount would have to wait for may be made now, by and by. */
  prepare(layer: LazyLayer): void;
  /**
   * Mounts the image of `layer`, or tells where it is mounted. Also called for mounts that outlived a restart: the
   * answer must then be the same path.
   *
   * @param holder id of the layer that is stacked on the image
   * @throws {NydusGdError} when it cannot be mounted; `holder` then holds nothing
   */
  acquire(layer: LazyLayer, holder: string, signal?: AbortSignal): Promise<LazyMount>;
  /** `holder` is gone. One that holds nothing is no error. */
  release(layerId: string, holder: string): Promise<void>;
  /**
   * The layer is being removed: unmounts its image and drops what was kept for it.
   *
   * @param layer absent where the layer's files are damaged
   */
  forget(layerId: string, layer?: LazyLayer): Promise<void>;
  /** What `docker inspect` shows of the layer: kind, bootstrap, fs_driver, blobs. */
  describe(layer: LazyLayer): Promise<Record<string, string>>;
  /** Rows for `docker info`. */
  status(): Promise<[string, string][]>;
}

/** For a store without lazy images: bootstrap layers are refused because of `state`, everything else works. */
export function refuseLazyImages(state: string, hint?: string): LazyImages {
  const refusal = (bootstrapPath: string) =>
    new NydusGdError(
      "unsupported",
      `Cannot use lazy image "${bootstrapPath}": ${state}`,
      hint === undefined ? {} : { hint },
    );
  return {
    verify: (bootstrapPath) => Promise.reject(refusal(bootstrapPath)),
    prepare: () => {},
    acquire: (layer) => Promise.reject(refusal(layer.bootstrapPath)),
    release: () => Promise.resolve(),
    forget: () => Promise.resolve(),
    describe: () => Promise.resolve({}),
    status: () => Promise.resolve([]),
  };
}
