/**
 * Prepares new images in the background, so that their first container need not wait.
 *
 * ```
 * layer has arrived ─┬─► kernel image, one at a time ─┐
 *                    └─► its registry is known ───────┴─► mounted for its first container ─► without one: unmounted
 * ```
 * A failure is not reported: the first container tries again, and fails with the reason. An image without a container is
 * unmounted after a while, since it takes memory, and its blobs may become unreachable.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { unlessAborted } from "../../../base/abort.ts";
import { messageOf, NydusGdError } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import type { KernelImages } from "../../../mount/erofs/kernel_images.ts";
import { MappedBootstrap } from "../../mapped_bootstrap.ts";

const log = logger("image");

/** See {@link PreparedImagesParts.unusedMs}: a container usually follows the pull of its image. */
const UNUSED_MS = 30_000;

/** Dependencies of {@link PreparedImages}. */
export interface PreparedImagesParts {
  readonly kernelImages: KernelImages;
  /** Whether the data path mounts kernel images. */
  readonly usesKernelImages: () => boolean;
  /** Resolves when the registry of a new layer is known, or is not going to be. */
  readonly whenPlaced: (layer: LazyLayer, signal: AbortSignal) => Promise<void>;
  readonly mount: (layer: LazyLayer, signal: AbortSignal) => Promise<unknown>;
  /** Unmounts the image of a layer unless a container has used it. */
  readonly unmountUnused: (layerId: string) => Promise<void>;
  /** Milliseconds for which an image stays mounted without a container; undefined: 30,000. */
  readonly unusedMs: number | undefined;
}

/** Its promises never reject. */
interface Preparation {
  readonly abort: AbortController;
  /** Set while the kernel image is being made, and afterwards. */
  kernelImage?: Promise<void>;
  mounted?: Promise<void>;
}

/** The preparations of one server. */
export class PreparedImages {
  /** By layer ID. */
  readonly #running = new Map<string, Preparation>();
  #lastKernelImage: Promise<void> = Promise.resolve();

  constructor(private readonly parts: PreparedImagesParts) {}

  /** Starts preparing the image of `layer`. */
  begin(layer: LazyLayer): void {
    const preparation: Preparation = { abort: new AbortController() };
    this.#running.set(layer.id, preparation);
    const queued = this.#queueKernelImage(layer, preparation);
    preparation.mounted = this.#mount(layer, preparation.abort.signal);
    Promise.all([queued, preparation.mounted]).then(() => {
      if (this.#running.get(layer.id) === preparation) this.#running.delete(layer.id);
    });
  }

  /** Resolves when the kernel image of a layer is not being made. */
  async kernelImageMade(layerId: string): Promise<void> {
    await this.#running.get(layerId)?.kernelImage;
  }

  #queueKernelImage(layer: LazyLayer, preparation: Preparation): Promise<void> {
    if (!this.parts.usesKernelImages()) return Promise.resolve();
    return this.#lastKernelImage = this.#lastKernelImage.then(() =>
      preparation.kernelImage = this.#makeKernelImage(layer, preparation.abort.signal)
    );
  }

  async #makeKernelImage({ id, bootstrapPath }: LazyLayer, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    try {
      signal.throwIfAborted();
      using bootstrap = MappedBootstrap.open(bootstrapPath);
      await this.parts.kernelImages.prepare({ name: id, bootstrap: bootstrap.mapping });
      log.debug("kernel image made", { layer: id, durationMs: Math.round(performance.now() - startedAt) });
    } catch (error) {
      log.debug("kernel image not made", { layer: id, reason: messageOf(error) });
    }
  }

  async #mount(layer: LazyLayer, signal: AbortSignal): Promise<void> {
    const { whenPlaced, mount, unmountUnused, unusedMs = UNUSED_MS } = this.parts;
    try {
      await unlessAborted(whenPlaced(layer, signal), signal);
      signal.throwIfAborted();
      await unlessAborted(mount(layer, signal), signal);
      await sleep(unusedMs, undefined, { signal });
      await unmountUnused(layer.id);
    } catch (error) {
      log.debug("image not kept mounted for its first container", { layer: layer.id, reason: messageOf(error) });
    }
  }

  /** Stops preparing the image of a layer. Resolves when that does not use the layer any more. */
  async cancel(layerId: string): Promise<void> {
    const preparation = this.#running.get(layerId);
    preparation?.abort.abort(new NydusGdError("interrupted", "Cannot prepare image: its layer is being removed"));
    await Promise.all([preparation?.kernelImage, preparation?.mounted]);
  }

  /** Stops all preparations. */
  async stop(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((layerId) => this.cancel(layerId)));
  }
}
