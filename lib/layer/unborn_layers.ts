/**
 * Layers of containers that were never made.
 *
 * dockerd makes two layers for a container, `<id>-init` and on top of it `<id>`. Where it cannot go on after the first
 * (this program was killed, say) it forgets it without removing it. While dockerd starts it makes no container, so that
 * one without the other is nobody's then. Source: initMount and CreateRWLayer of moby's layer/layer_store.go, 20.10 to 26.
 *
 * @module
 */
import { layerExists } from "./layer.ts";
import type { HomePaths } from "./layer_paths.ts";

/** Docker's own ids only: others may put what they like on a layer with such a name. */
const INIT_LAYER = /^([0-9a-f]{64})-init$/;

/** Their ids. Right only while no container is being made. */
export async function unbornLayers(home: HomePaths): Promise<string[]> {
  const unborn: string[] = [];
  for (const { name } of [...Deno.readDirSync(home.home)]) {
    const container = INIT_LAYER.exec(name)?.[1];
    if (container !== undefined && !await layerExists(home, container)) unborn.push(name);
  }
  return unborn;
}
