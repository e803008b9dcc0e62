/**
 * Unpacks a tar as a layer in the calling thread, as lib/layer/apply/applier.ts has it done by a Worker.
 *
 * @module
 */
import { type AppliedLayer, LayerUnpacking } from "../../../lib/layer/apply/apply.ts";
import { NO_ID_MAPS } from "../../../lib/layer/userns/id_maps.ts";

/**
 * Unpacks a whole tar and makes it durable.
 *
 * @param diffDir an existing empty folder
 */
export function applyTar(pieces: Iterable<Uint8Array>, diffDir: string): AppliedLayer {
  using unpacking = new LayerUnpacking(diffDir, NO_ID_MAPS);
  for (const piece of pieces) unpacking.push(piece);
  return unpacking.finish();
}
