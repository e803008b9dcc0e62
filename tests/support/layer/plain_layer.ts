/**
 * Layers that are made without a store.
 *
 * @module
 */
import { makeLayer } from "../../../lib/layer/make/make_layer.ts";
import type { Layer } from "../../../lib/layer/record/layer.ts";
import type { HomePaths } from "../../../lib/layer/record/layer_paths.ts";
import { GoneLayers } from "../../../lib/layer/remove/gone_layers.ts";
import { NO_ID_MAPS } from "../../../lib/layer/userns/id_maps.ts";

/** Makes an empty layer with the owners of this machine, and without a limit. */
export async function makePlainLayer(home: HomePaths, id: string, parent?: Layer): Promise<void> {
  await makeLayer(home, id, parent, { idMaps: NO_ID_MAPS, limitBytes: 0, gone: new GoneLayers(home) });
}
