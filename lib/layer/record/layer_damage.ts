/**
 * Layers that were found damaged, described for users: which they are, and what to do.
 *
 * The folder of a damaged layer stays, since it may hold the only copy of what a container wrote.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import type { LayerParents } from "./docker_records.ts";
import { hidesBelow, type Layer, loadLayer } from "./layer.ts";
import { isLayerId } from "./layer_id.ts";
import { HomePaths } from "./layer_paths.ts";

/** A layer that cannot be used. */
export interface DamagedLayer {
  readonly id: string;
  readonly reason: string;
  /** What to do; absent: the layer is lost, except for its files. */
  readonly remedy?: string;
}

/** Both are parts of sentences. */
export interface LayerProblem {
  readonly message: string;
  readonly remedy: string;
}

/** Describes damaged layers. */
export function layerProblems(damaged: readonly DamagedLayer[], home: HomePaths): LayerProblem[] {
  return damaged.map(({ id, reason, remedy }) => ({
    message: `layer ${id} is damaged: ${reason}`,
    remedy: remedy ??
      `save what you need of ${home.layer(id).diff}, then remove the container or the images that have it`,
  }));
}

/** Returns the damaged layers of a home, whether or not it is being served. @param parents as in {@link brokenStacks} */
export async function damagedLayersIn(home: string, parents?: LayerParents): Promise<DamagedLayer[]> {
  const paths = new HomePaths(home);
  const layers: Layer[] = [];
  const damaged: DamagedLayer[] = [];
  const list = Promise.resolve().then(() => [...Deno.readDirSync(home)]);
  for (const { name, isDirectory } of await ignore(Deno.errors.NotFound, list) ?? []) {
    if (!isDirectory || !isLayerId(name)) continue;
    try {
      layers.push(await loadLayer(paths, name));
    } catch (error) {
      damaged.push(damageOf(name, error));
    }
  }
  // those that were removed in the meantime are no damage
  return [...damaged, ...brokenStacks(layers, paths, parents)].filter(({ id }) => existsSync(paths.layer(id).root));
}

/** Describes a layer that cannot be read, because of `error`. */
export function damageOf(id: string, error: unknown): DamagedLayer {
  const hint = error instanceof NydusGdError ? error.hint : undefined;
  return { id, reason: messageOf(error), ...(hint === undefined ? {} : { remedy: hint }) };
}

/**
 * Returns those of a home's layers whose list of layers below is not what it was when they were made.
 *
 * @param layers all that can be read
 * @param parents which layer each was made on, as far as others know; undefined: nobody knows
 */
export function brokenStacks(
  layers: readonly Layer[],
  home: HomePaths,
  parents: LayerParents | undefined,
): DamagedLayer[] {
  const byShort = new Map(layers.map((layer) => [layer.short, layer]));
  const byId = new Map(layers.map((layer) => [layer.id, layer]));
  return layers.flatMap(({ id, lower: [first, ...rest] }) => {
    const recorded = byId.get(parents?.get(id) ?? "");
    if (recorded !== undefined && recorded.short !== first) {
      return [{ id, reason: `its file lower omits the layer that it was made on, ${recorded.id}` }];
    }
    if (first === undefined) return [];
    const parent = byShort.get(first);
    if (parent !== undefined) {
      const isWhole = [first, ...rest].join() === lowerOn(parent).join();
      return isWhole ? [] : [{ id, reason: "its file lower does not list all layers below it" }];
    }
    const isDamaged = existsSync(home.shortLink(first)); // that layer is named itself
    return isDamaged ? [] : [{ id, reason: `the layer below it is gone (l/${first})` }];
  });
}

/** Short names of all layers below a layer on `parent`, topmost first. */
export function lowerOn(parent: Layer): string[] {
  return [parent.short, ...(hidesBelow(parent) ? [] : parent.lower)];
}
