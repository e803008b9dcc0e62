/**
 * Prepares the kernel images of new layers in the background, one at a time, so that the first mount need not wait.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import type { KernelImages } from "../../mount/erofs/kernel_images.ts";
import { MappedBootstrap } from "../open_image.ts";

const log = logger("image");

/** The queue of layers to prepare. */
export class PreparedImages {
  /** Layers not yet started. */
  readonly #waiting = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  /** @param alone runs a task while the image of that layer is neither mounted nor forgotten */
  constructor(
    private readonly kernelImages: KernelImages,
    private readonly runExclusive: (layerId: string, task: () => Promise<void>) => Promise<void>,
  ) {}

  /** Queues the image of `layer`. A failure is not reported; the first mount fails with it. */
  begin(layer: LazyLayer): void {
    this.#waiting.add(layer.id);
    this.#last = this.#last.then(() => this.runExclusive(layer.id, () => this.#prepare(layer)));
  }

  async #prepare({ id, bootstrapPath }: LazyLayer): Promise<void> {
    if (!this.#waiting.delete(id)) return;
    const startedAt = performance.now();
    try {
      using bootstrap = MappedBootstrap.open(bootstrapPath);
      await this.kernelImages.prepare({ name: id, bootstrap: bootstrap.mapping });
      log.debug("image prepared", { layer: id, durationMs: Math.round(performance.now() - startedAt) });
    } catch (error) {
      log.debug("image not prepared", { layer: id, reason: messageOf(error) });
    }
  }

  /**
   * Removes the prepared image of a removed layer. Must not run concurrently with its preparation; see the constructor.
   */
  async forget(layerId: string): Promise<void> {
    this.#waiting.delete(layerId);
    await this.kernelImages.forget(layerId);
  }

  /** Empties the queue; resolves when no preparation is running. */
  async stop(): Promise<void> {
    this.#waiting.clear();
    await this.#last;
  }
}
