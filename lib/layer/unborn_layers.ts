/**
 * Finds layers of containers that were never created.
 *
 * dockerd creates two layers for a container, `<id>-init` and on top of it `<id>`. If it cannot continue after the
 * first (for example because this program was killed), it forgets that layer without removing it. dockerd creates no
 * containers while it starts, so a layer without its counterpart is orphaned then. Source: initMount and CreateRWLayer
 * of moby's layer/layer_store.go, 20.10 to 26.
 *
 * @module
 */
import { layerExists } from "./layer.ts";
import type { HomePaths } from "./layer_paths.ts";

/** Docker's own ids only: other clients may put anything on a layer with such a name. */
const INIT_LAYER = /^([0-9a-f]{64})-init$/;

/** Ids of these layers. Valid only while no container is being created. */
export async function unbornLayers(home: HomePaths): Promise<string[]> {
  const unborn: string[] = [];
  for (const { name } of [...Deno.readDirSync(home.home)]) {
    const container = INIT_LAYER.exec(name)?.[1];
    if (container !== undefined && !await layerExists(home, container)) unborn.push(name);
  }
  return unborn;
}
