/**
 * Prepares new images in the background, so that their first container need not wait.
 *
 * ```
 * layer has arrived ─► kernel image, one at a time ─► its registry is known ─► mounted, without a user
 * ```
 * A failure is not reported: the first container tries again, and fails with the reason.
 *
 * @module
 */
import { unlessAborted } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import type { KernelImages } from "../../mount/erofs/kernel_images.ts";
import { MappedBootstrap } from "../open_image.ts";

const log = logger("image");

/** Dependencies of {@link PreparedImages}. */
export interface PreparedImagesParts {
  readonly kernelImages: KernelImages;
  /** Whether the data path mounts kernel images. */
  readonly usesKernelImages: () => boolean;
  /** Runs a task while the image of that layer is neither mounted nor forgotten. */
  readonly runExclusive: (layerId: string, task: () => Promise<void>) => Promise<void>;
  /** Resolves when the registry of a new layer is known, or is not going to be. */
  readonly whenPlaced: (layer: LazyLayer, signal: AbortSignal) => Promise<void>;
  readonly mount: (layer: LazyLayer, signal: AbortSignal) => Promise<unknown>;
}

interface Preparation {
  readonly abort: AbortController;
  /** Never rejects. */
  readonly ended: Promise<void>;
}

/** The preparations of one server. */
export class PreparedImages {
  /** By layer ID. */
  readonly #running = new Map<string, Preparation>();
  #lastKernelImage: Promise<void> = Promise.resolve();

  constructor(private readonly parts: PreparedImagesParts) {}

  /** Starts preparing the image of `layer`. */
  begin(layer: LazyLayer): void {
    const abort = new AbortController();
    const ended = this.#prepare(layer, abort.signal)
      .catch((error) => log.debug("image not prepared", { layer: layer.id, reason: messageOf(error) }))
      .finally(() => this.#running.get(layer.id)?.abort === abort && this.#running.delete(layer.id));
    this.#running.set(layer.id, { abort, ended });
  }

  async #prepare(layer: LazyLayer, signal: AbortSignal): Promise<void> {
    const { usesKernelImages, whenPlaced, mount } = this.parts;
    if (usesKernelImages()) {
      this.#lastKernelImage = this.#lastKernelImage.then(() => this.#makeKernelImage(layer, signal));
      await this.#lastKernelImage;
    }
    await whenPlaced(layer, signal);
    signal.throwIfAborted();
    await unlessAborted(mount(layer, signal), signal);
  }

  /** Never rejects. */
  async #makeKernelImage({ id, bootstrapPath }: LazyLayer, signal: AbortSignal): Promise<void> {
    const { kernelImages, runExclusive } = this.parts;
    const startedAt = performance.now();
    try {
      await runExclusive(id, async () => {
        signal.throwIfAborted();
        using bootstrap = MappedBootstrap.open(bootstrapPath);
        await kernelImages.prepare({ name: id, bootstrap: bootstrap.mapping });
      });
      log.debug("kernel image made", { layer: id, durationMs: Math.round(performance.now() - startedAt) });
    } catch (error) {
      log.debug("kernel image not made", { layer: id, reason: messageOf(error) });
    }
  }

  /** Stops preparing the image of a layer. Resolves when the layer is not used any more. */
  async cancel(layerId: string): Promise<void> {
    const preparation = this.#running.get(layerId);
    preparation?.abort.abort(new NydusGdError("interrupted", "Cannot prepare image: its layer is being removed"));
    await preparation?.ended;
  }

  /** Stops all preparations. */
  async stop(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((layerId) => this.cancel(layerId)));
  }
}
