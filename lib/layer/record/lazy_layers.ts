/**
 * Lists the bootstrap layers of a home, whether or not it is being served.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { foundationOf, lazyImageOf, loadLayer } from "./layer.ts";
import { isLayerId } from "./layer_id.ts";
import { HomePaths } from "./layer_paths.ts";
import type { LazyLayer } from "../lazy/lazy_images.ts";

const log = logger("layer");

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
