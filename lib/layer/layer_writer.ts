/**
 * Calls that make layers, and fill them.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { type Layer, layerExists, loadLayer } from "./record/layer.ts";
import type { StoreInside } from "./layer_store_parts.ts";
import { isInitLayer } from "./record/layer_id.ts";
import { commitLayer, makeLayer, requireSameEmptyLayer } from "./make/make_layer.ts";
import { requireSizeLimits } from "./home/size_limit.ts";
import { sizeLimitOf } from "./make/storage_options.ts";
import { unpackLayer } from "./make/unpack_layer.ts";

/** Options for creating a layer. */
export interface CreateOptions {
  /** The layer below; absent or empty for none. */
  readonly parent?: string;
  /** `--storage-opt` of docker create, by key; see make/storage_options.ts. */
  readonly storageOptions?: Readonly<Record<string, string>>;
}

/** Makes and fills the layers of one store. */
export class LayerWriter {
  /** Running and waiting applies by layer, to be cancelled by a remove. */
  readonly #applying = new Map<string, Set<AbortController>>();

  constructor(private readonly inside: StoreInside) {}

  /** See LayerStore.create. */
  create(id: string, options: CreateOptions): Promise<void> {
    return this.inside.calls.exclusive(id, async () => {
      const what = `create layer ${id}`;
      if (sizeLimitOf(options.storageOptions ?? {}, what) !== undefined) {
        throw new NydusGdError("usage", `Cannot ${what}: it is an image's, and only containers have a size`);
      }
      await this.#make(id, options, 0);
    });
  }

  /** See LayerStore.createReadWrite. */
  createReadWrite(id: string, options: CreateOptions): Promise<void> {
    const { calls, paths, limitBytes: byDefault } = this.inside;
    return calls.exclusive(id, async () => {
      const what = `create layer ${id}`;
      const limitBytes = sizeLimitOf(options.storageOptions ?? {}, what) ?? byDefault;
      if (limitBytes > 0) requireSizeLimits(paths.home, what);
      await this.#make(id, options, isInitLayer(id) ? 0 : limitBytes);
    });
  }

  async #make(id: string, { parent: wanted }: CreateOptions, limitBytes: number): Promise<void> {
    const { paths, idMaps, gone } = this.inside;
    const parentId = wanted || undefined;
    if (await layerExists(paths, id)) return await requireSameEmptyLayer(paths, id, parentId);
    const parent = parentId === undefined ? undefined : await this.#commit(parentId);
    await gone.deleteRest();
    await makeLayer(paths, id, parent, { idMaps, limitBytes, gone });
  }

  /**
   * Loads the parent and makes it read-only. Its lock nests inside that of a layer which is not there yet. No deadlock:
   * whoever waits for a new layer finds before that it is not there.
   */
  async #commit(parent: string): Promise<Layer> {
    const { calls, paths, views, lazyLayers } = this.inside;
    await loadLayer(paths, parent);
    return await calls.exclusive(parent, async () => {
      const layer = await commitLayer(paths, parent, views);
      lazyLayers.add(layer);
      return layer;
    });
  }

  /** See LayerStore.applyDiff. */
  async apply(id: string, body: ReadableStream<Uint8Array>): Promise<number> {
    const { calls, paths, applier, lazyImages, views, lazyLayers, idMaps } = this.inside;
    const abort = new AbortController();
    const ends = AbortSignal.any([abort.signal, calls.stopSignal]);
    const running = this.#applying.get(id) ?? new Set();
    this.#applying.set(id, running.add(abort));
    try {
      return await calls.exclusive(id, async () => {
        const layer = await loadLayer(paths, id);
        const finished = await unpackLayer(layer, body, applier, { images: views, idMaps, signal: ends });
        const lazy = lazyLayers.add({ ...layer, finished });
        if (lazy !== undefined) lazyImages.prepare(lazy);
        return finished.sizeBytes ?? 0;
      }, ends);
    } finally {
      running.delete(abort);
      if (running.size === 0) this.#applying.delete(id);
    }
  }

  /** Cancels running and waiting applies to a layer that is being removed. */
  cancelApplies(id: string): void {
    for (const apply of this.#applying.get(id) ?? []) {
      apply.abort(new NydusGdError("interrupted", `Cannot apply to layer ${id}: it is being removed`));
    }
  }
}
