/**
 * The bootstrap layers of a home: listed from the disk, or known by the store that has the home open.
 *
 * @module
 */
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { foundationOf, type Layer, lazyImageOf, loadLayer } from "./layer.ts";
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
  const real = await ignore(Deno.errors.NotFound, Deno.realPath(home));
  if (real === undefined) return [];
  const paths = new HomePaths(real);
  const layers: LazyLayer[] = [];
  for (const { name, isDirectory } of [...Deno.readDirSync(real)]) {
    if (!isDirectory || !isLayerId(name)) continue;
    const layer = await attempt(name, async () => lazyImageOf(await loadLayer(paths, name), paths));
    if (layer !== undefined) layers.push(layer);
  }
  return layers;
}

/** The bootstrap layers that mounted layers of a home are stacked on, whether or not it is being served. */
export async function lazyLayersInUse(home: string): Promise<LazyLayer[]> {
  const real = await ignore(Deno.errors.NotFound, Deno.realPath(home));
  if (real === undefined) return [];
  const paths = new HomePaths(real);
  const below = await Promise.all(mountedLayerIds(real).map((id) => attempt(id, () => lazyLayerBelow(paths, id))));
  return below.filter((layer) => layer !== undefined);
}

async function lazyLayerBelow(home: HomePaths, id: string): Promise<LazyLayer | undefined> {
  return (await foundationOf(home, await loadLayer(home, id))).lazy;
}

/** Ids of the layers of a home that are mounted, whoever mounted them. @param home free of symbolic links */
export function mountedLayerIds(home: string): string[] {
  const points = mountsBelow(home).map((mount) => mount.mountPoint.slice(home.length + 1).split("/"));
  const ids = points.filter(([id, name, rest]) => isLayerId(id ?? "") && name === "merged" && rest === undefined);
  return [...new Set(ids.map(([id]) => id ?? ""))];
}

/** Returns undefined for a layer that cannot be read. */
async function attempt<T>(id: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof NydusGdError)) throw error;
    log.debug("layer not inspected", { layer: id, reason: messageOf(error) }); // removed meanwhile, or damaged
    return undefined;
  }
}
