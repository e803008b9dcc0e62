/**
 * Lists the bootstrap layers of a home, whether or not it is being served.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { lazyImageOf, loadLayer } from "./layer.ts";
import { isLayerId } from "./layer_id.ts";
import { HomePaths } from "./layer_paths.ts";
import type { LazyLayer } from "./lazy_images.ts";

const log = logger("layer");

/** All complete bootstrap layers; empty if the folder does not exist. */
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
