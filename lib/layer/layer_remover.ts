/**
 * Removes layers: on request, and those that dockerd has forgotten.
 *
 * @module
 */
import { messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { discardLayer } from "./remove/discard_layer.ts";
import { isEmpty, type Layer, layerExists, loadLayer } from "./record/layer.ts";
import { isInitLayer } from "./record/layer_id.ts";
import type { StoreInside } from "./layer_store_parts.ts";
import { UnbornLayers } from "./remove/unborn_layers.ts";
import { removeUnrecorded } from "./remove/unrecorded_layers.ts";

const log = logger("layer");

/** Removes the layers of one store. */
export class LayerRemover implements Disposable {
  readonly #unborn: UnbornLayers;

  /** @param cancelApplies cancels what is being unpacked into a layer */
  constructor(private readonly inside: StoreInside, private readonly cancelApplies: (id: string) => void) {
    const { paths, unbornAfterMs } = inside;
    this.#unborn = new UnbornLayers(paths, (id) => this.#removeUnborn(id), unbornAfterMs);
  }

  /** To be called at the end of every call that names a layer. */
  named(id: string): void {
    this.#unborn.named(id);
  }

  /** Looks for layers of containers that are never created, from now on. */
  watch(): void {
    this.#unborn.watch();
  }

  /** Removes the layers that a dockerd which has just started does not know. */
  async removeForgotten(): Promise<void> {
    const { paths, dockerRecords } = this.inside;
    await this.#unborn.removeAll();
    await removeUnrecorded(paths, dockerRecords, (id) => this.remove(id));
  }

  /** See LayerStore.remove. */
  remove(id: string): Promise<void> {
    this.cancelApplies(id);
    return this.inside.calls.exclusive(id, () => this.#discard(id));
  }

  /**
   * Removes the init layer if it cannot be mounted: its container is never created, and dockerd does not remove it. The
   * caller holds the layer's lock.
   */
  async dropUnborn(layer: Layer): Promise<void> {
    const { paths, gone } = this.inside;
    if (!isInitLayer(layer.id) || layer.readOnly || !await isEmpty(layer)) return;
    log.debug("layer of a container that is not made is removed", { layer: layer.id });
    try {
      await discardLayer(paths, layer.id, layer.short, gone);
    } catch (error) {
      log.warn("layer of a container that is not made stays for now", { layer: layer.id, reason: messageOf(error) });
    }
  }

  #removeUnborn(id: string): Promise<void> {
    return this.inside.calls.exclusive(id, async () => {
      if (this.#unborn.isForgotten(id)) await this.#discard(id);
    });
  }

  async #discard(id: string): Promise<void> {
    const { paths, mounts, lazyImages, lazyLayers, gone } = this.inside;
    if (!await layerExists(paths, id)) return;
    const layer = await this.#load(id);
    await mounts.unmount(id);
    const lazy = layer && lazyLayers.add(layer);
    lazyLayers.remove(id); // first, so that of two layers with the same blob that are being removed none keeps it
    try {
      if (layer === undefined || lazy !== undefined) await lazyImages.forget(id, lazy);
      await discardLayer(paths, id, layer?.short, gone);
    } catch (error) {
      if (layer !== undefined && await layerExists(paths, id)) lazyLayers.add(layer);
      throw error;
    }
    await gone.deleteRest();
  }

  async #load(id: string): Promise<Layer | undefined> {
    try {
      return await loadLayer(this.inside.paths, id);
    } catch (error) {
      log.warn("damaged layer is removed", { layer: id, reason: messageOf(error) });
      return undefined;
    }
  }

  /** Stops looking for layers. */
  [Symbol.dispose](): void {
    this.#unborn[Symbol.dispose]();
  }
}
