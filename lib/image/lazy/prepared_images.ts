/**
 * What the first mount of an image would wait for, made when its layer has come: one image at a time, beside everything
 * else.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import type { KernelImages } from "../../mount/erofs/kernel_images.ts";
import { MappedBootstrap } from "../open_image.ts";

const log = logger("image");

/** See the module. */
export class PreparedImages {
  /** Layers whose turn has not come. */
  readonly #waiting = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  /** @param alone runs a task while the image of that layer is neither mounted nor forgotten */
  constructor(
    private readonly kernelImages: KernelImages,
    private readonly alone: (layerId: string, task: () => Promise<void>) => Promise<void>,
  ) {}

  /** Has the image of `layer` made in a while. A failure is for its first mount to tell. */
  begin(layer: LazyLayer): void {
    this.#waiting.add(layer.id);
    this.#last = this.#last.then(() => this.alone(layer.id, () => this.#prepare(layer)));
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

  /** The layer is gone: so is what was made for it. Its image must not be in the making, see the constructor. */
  async forget(layerId: string): Promise<void> {
    this.#waiting.delete(layerId);
    await this.kernelImages.forget(layerId);
  }

  /** Ends; resolves when nothing is being made any more. */
  async stop(): Promise<void> {
    this.#waiting.clear();
    await this.#last;
  }
}
