/**
 * Layers that were found damaged, described for users: which they are, and what to do.
 *
 * The folder of a damaged layer stays, since it may hold the only copy of what a container wrote.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { ignore, messageOf } from "../base/errors.ts";
import { hidesBelow, type Layer, loadLayer } from "./layer.ts";
import { isLayerId } from "./layer_id.ts";
import { HomePaths } from "./layer_paths.ts";

/** A layer that cannot be used. */
export interface DamagedLayer {
  readonly id: string;
  readonly reason: string;
}

/** Both are parts of sentences. */
export interface LayerProblem {
  readonly message: string;
  readonly remedy: string;
}

/** Describes damaged layers. */
export function layerProblems(damaged: readonly DamagedLayer[], home: HomePaths): LayerProblem[] {
  return damaged.map(({ id, reason }) => ({
    message: `layer ${id} is damaged: ${reason}`,
    remedy: `save what you need of ${home.layer(id).diff}, then remove the container or the images that have it`,
  }));
}

/** Returns the damaged layers of a home, whether or not it is being served. */
export async function damagedLayersIn(home: string): Promise<DamagedLayer[]> {
  const paths = new HomePaths(home);
  const layers: Layer[] = [];
  const damaged: DamagedLayer[] = [];
  const list = Promise.resolve().then(() => [...Deno.readDirSync(home)]);
  for (const { name, isDirectory } of await ignore(Deno.errors.NotFound, list) ?? []) {
    if (!isDirectory || !isLayerId(name)) continue;
    try {
      layers.push(await loadLayer(paths, name));
    } catch (error) {
      damaged.push({ id: name, reason: messageOf(error) });
    }
  }
  // those that were removed in the meantime are no damage
  return [...damaged, ...brokenStacks(layers)].filter(({ id }) => existsSync(paths.layer(id).root));
}

/** Returns those of a home's layers whose list of layers below is not what it was when they were made. */
export function brokenStacks(layers: readonly Layer[]): DamagedLayer[] {
  const byShort = new Map(layers.map((layer) => [layer.short, layer]));
  return layers.flatMap(({ id, lower }) => {
    const [first, ...rest] = lower;
    const parent = first === undefined ? undefined : byShort.get(first);
    if (parent === undefined) {
      return first === undefined ? [] : [{ id, reason: `the layer below it is gone (l/${first})` }];
    }
    const whole = lowerOn(parent).join();
    return [first, ...rest].join() === whole
      ? []
      : [{ id, reason: "its file lower does not list all layers below it" }];
  });
}

/** Short names of all layers below a layer on `parent`, topmost first. */
export function lowerOn(parent: Layer): string[] {
  return [parent.short, ...(hidesBelow(parent) ? [] : parent.lower)];
}
