/**
 * The bootstrap layers of a home: listed from the disk, or known by the store that has the home open.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type Layer, lazyImageOf, loadLayer } from "./layer.ts";
import { isLayerId } from "./layer_id.ts";
import { HomePaths } from "./layer_paths.ts";
import type { LazyLayer } from "./lazy_images.ts";

const log = logger("layer");

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

/** All complete bootstrap layers of a home, whether or not it is being served; empty if the folder does not exist. */
export async function lazyLayersIn(home: string): Promise<LazyLayer[]> {
  const paths = new HomePaths(home);
  const names = await ignore(Deno.errors.NotFound, Promise.resolve().then(() => [...Deno.readDirSync(home)])) ?? [];
  const layers: LazyLayer[] = [];
  for (const { name, isDirectory } of names) {
    if (!isDirectory || !isLayerId(name)) continue;
    const layer = await lazyLayer(paths, name);
    if (layer !== undefined) layers.push(layer);
  }
  return layers;
}

async function lazyLayer(paths: HomePaths, id: string): Promise<LazyLayer | undefined> {
  try {
    return lazyImageOf(await loadLayer(paths, id), paths);
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    log.debug("layer not inspected", { layer: id, reason: messageOf(error) }); // removed meanwhile, or damaged
    return undefined;
  }
}
