/**
 * Problems of mounted layers, described for users.
 *
 * @module
 */
import type { LayerMounts } from "./layer_mounts.ts";

/** Worst first; empty if there are none. */
export function layerWarnings(
  { strandedIds, suspectIds }: Pick<LayerMounts, "strandedIds" | "suspectIds">,
): string[] {
  return [
    ...(suspectIds.length === 0 ? [] : [suspectText(suspectIds)]),
    ...(strandedIds.length === 0 ? [] : [strandedText(strandedIds)]),
  ];
}

function suspectText(ids: readonly string[]): string {
  const layers = ids.join(", ");
  return `may have read zeros while their images were not watched: layers ${layers}, stop and start their containers`;
}

function strandedText(ids: readonly string[]): string {
  const layers = ids.length === 1 ? "1 mounted layer lost its image" : `${ids.length} mounted layers lost their images`;
  const remedy = `stop and start the containers of ${ids.join(", ")}`;
  return `${layers} with an earlier nydus-gd: data not read yet gives errors, ${remedy}`;
}
