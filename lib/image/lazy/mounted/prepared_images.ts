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
 * An image that arrives as two layers is prepared once: of an index by `convert`, containerd's transfer service unpacks
 * both entries, with one bootstrap, and runs the first.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { unlessAborted } from "../../../base/abort.ts";
import { messageOf, NydusGdError } from "../../../base/errors.ts";
import { sha256OfFile } from "../../../base/file_digest.ts";
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
  readonly layer: LazyLayer;
  readonly abort: AbortController;
  /** Resolves when the others are set, or are not going to be. */
  begun?: Promise<void>;
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
    const preparation: Preparation = { layer, abort: new AbortController() };
    const others = [...this.#running.values()].map(({ layer }) => layer).filter(({ id }) => id !== layer.id);
    this.#running.set(layer.id, preparation);
    preparation.begun = this.#begin(preparation, others);
  }

  /** @param others layers whose images are being prepared or wait for their first container */
  async #begin(preparation: Preparation, others: readonly LazyLayer[]): Promise<void> {
    const { layer, abort: { signal } } = preparation;
    const twin = others.length > 0 ? await twinOf(layer, others) : undefined;
    if (twin !== undefined) log.debug("image is being prepared for another layer", { layer: layer.id, twin: twin.id });
    if (twin !== undefined || signal.aborted) return this.#end(preparation);
    const queued = this.#queueKernelImage(layer, preparation);
    preparation.mounted = this.#mount(layer, signal);
    Promise.all([queued, preparation.mounted]).then(() => this.#end(preparation));
  }

  #end(preparation: Preparation): void {
    const { id } = preparation.layer;
    if (this.#running.get(id) === preparation) this.#running.delete(id);
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
    await preparation?.begun;
    await Promise.all([preparation?.kernelImage, preparation?.mounted]);
  }

  /** Stops all preparations. */
  async stop(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((layerId) => this.cancel(layerId)));
  }
}

/** Returns the layer of `others` that has the same bootstrap, if any. Never rejects. */
async function twinOf(layer: LazyLayer, others: readonly LazyLayer[]): Promise<LazyLayer | undefined> {
  for (const other of others) {
    try {
      if (await isSameFile(layer.bootstrapPath, other.bootstrapPath)) return other;
    } catch (error) {
      log.debug("bootstraps not compared", { layer: layer.id, other: other.id, reason: messageOf(error) });
    }
  }
  return undefined;
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([Deno.stat(a), Deno.stat(b)]);
  return first.size === second.size && await sha256OfFile(a) === await sha256OfFile(b);
}
