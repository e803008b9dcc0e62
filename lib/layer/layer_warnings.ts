/**
 * Problems of mounted layers, described for users.
 *
 * @module
 */
import type { LayerMounts } from "./layer_mounts.ts";

/** Worst first; empty if there are none. */
export function layerWarnings(
  { strandedCount, suspectIds }: Pick<LayerMounts, "strandedCount" | "suspectIds">,
): string[] {
  return [
    ...(suspectIds.length === 0 ? [] : [suspectText(suspectIds)]),
    ...(strandedCount === 0 ? [] : [strandedText(strandedCount)]),
  ];
}

function suspectText(ids: readonly string[]): string {
  const layers = ids.join(", ");
  return `may have read zeros while their images were not watched: layers ${layers}, stop and start their containers`;
}

function strandedText(count: number): string {
  const layers = count === 1 ? "1 mounted layer lost its image" : `${count} mounted layers lost their images`;
  return `${layers} with an earlier nydus-gd: data not read yet gives errors, stop and start the containers`;
}
