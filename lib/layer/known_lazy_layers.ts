/**
 * The bootstrap layers of a home, as known by the store that has it open.
 *
 * @module
 */
import { type Layer, lazyImageOf } from "./record/layer.ts";
import type { HomePaths } from "./record/layer_paths.ts";
import type { LazyLayer } from "./lazy/lazy_images.ts";

/**
 * The complete bootstrap layers of a store. The store is told of them when it opens, by every call that finishes a
 * layer, and by every removal. Nobody else changes a home that is locked by its store, so this is what a look at the
 * disk would find.
 */
export class KnownLazyLayers {
  readonly #layers = new Map<string, LazyLayer>();

  constructor(private readonly home: HomePaths) {}

  /** Adds a layer if it is a complete bootstrap layer. Returns it as one, always the same object. */
  add(layer: Layer): LazyLayer | undefined {
    const known = this.#layers.get(layer.id);
    if (known !== undefined) return known;
    const lazy = lazyImageOf(layer, this.home);
    if (lazy !== undefined) this.#layers.set(lazy.id, lazy);
    return lazy;
  }

  remove(id: string): void {
    this.#layers.delete(id);
  }

  list(): LazyLayer[] {
    return [...this.#layers.values()];
  }
}
