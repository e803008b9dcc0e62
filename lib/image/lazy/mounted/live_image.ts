/**
 * One image, from its mount until the kernel has released it.
 *
 * ```
 * opened ─► mounted ─► unmounted: no path leads to it ─► released: nobody refers to it ─► closed: its blobs are free
 * ```
 * Overlays and open files may use the image long after its unmount.
 *
 * @module
 */
import { messageOf } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import type { SizeLimit } from "../../../base/setting_values.ts";
import type { BlobCache } from "../../../blob/blob_cache.ts";
import type { LazyLayer, LazyMount } from "../../../layer/lazy/lazy_images.ts";
import type { ImageMount } from "../../../mount/image_mount.ts";
import type { ImageMounts } from "../../../mount/image_mounts.ts";
import {
  type ImagePrefetch,
  type ImagePrefetchOptions,
  type PrefetchStatus,
  startPrefetch,
} from "../../prefetch/image_prefetch.ts";
import type { OpenedImage } from "../open/image_opener.ts";
import type { MountedImageReport } from "../report/images_report.ts";
import type { MountFacts } from "../records/mount_record.ts";
import type { OpenImage } from "../../open_image.ts";

const log = logger("image");

/** What a mount was before this process. */
export type MountPast = Pick<LazyMount, "continued" | "isSuspect">;

/** A mounted image; closes itself when the kernel has released it. */
export class LiveImage {
  /** Resolves when the image is closed. */
  readonly closed: Promise<void>;
  readonly #used = Promise.withResolvers<void>();
  #isUsed = false;
  #isClosing = false;
  #prefetch: ImagePrefetch | undefined;

  /** @param opened closed with the mount */
  constructor(
    private readonly opened: OpenedImage,
    readonly session: ImageMounts,
    readonly mount: ImageMount,
    readonly past: MountPast = { continued: false, isSuspect: false },
  ) {
    this.closed = this.#closeWhenReleased();
  }

  get layer(): LazyLayer {
    return this.opened.layer;
  }

  get image(): OpenImage {
    return this.opened.image;
  }

  /** What a successor has to know of the mount. */
  get facts(): MountFacts {
    return { fsDriver: this.mount.fsDriver, isSuspect: this.past.isSuspect, number: this.opened.number };
  }

  /** Whether a container has used the image. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  /** Whether the image must not be used any more. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Marks the image as used by a container. Returns whether it is its first. */
  use(): boolean {
    const isFirst = !this.#isUsed;
    this.#isUsed = true;
    this.#used.resolve();
    return isFirst;
  }

  /** Starts fetching the image into `cache`, unless a prefetch is running. Returns the status of the running one. */
  prefetch(scope: ImagePrefetchOptions["scope"], cache: BlobCache, minFree: SizeLimit): PrefetchStatus {
    if (this.#prefetch === undefined || this.#prefetch.isEnded) {
      this.#prefetch = startPrefetch(this.image, cache, minFree, { scope, used: this.#used.promise });
    }
    return this.#prefetch.status;
  }

  /** Resolves when no prefetch is running. */
  async stopPrefetch(): Promise<void> {
    await this.#prefetch?.stop();
  }

  /**
   * Unmounts the image. It is served on to those who refer to it. Without a user the choice of its backend is dropped,
   * so that its first user learns whether it can be read.
   */
  async unmount(): Promise<void> {
    await this.stopPrefetch();
    await this.mount[Symbol.asyncDispose]();
    if (!this.#isUsed) await this.opened.forgetBackend();
  }

  /** Returns the report of the image and its holders. */
  report(holders: readonly string[]): MountedImageReport {
    const { layer, mount, image } = this;
    return {
      layer,
      holders,
      home: this.opened.backend.description,
      fsDriver: mount.fsDriver,
      refusal: mount.refusal,
      path: mount.path,
      misses: image.misses.total,
      missesPerSecond: image.misses.perSecond(performance.now()),
      blobs: image.blobs.map((blob) => blob.stats()),
      prefetch: this.#prefetch?.status,
    };
  }

  /** Never rejects. */
  async #closeWhenReleased(): Promise<void> {
    try {
      await this.mount.released;
      this.#isClosing = true;
      await this.stopPrefetch(); // it uses the tree
      await this.image[Symbol.asyncDispose]();
    } catch (error) {
      log.error("image not closed", { layer: this.layer.id, error: messageOf(error) });
    }
  }
}
