/**
 * Every measure of a tree, warm and cold, of several systems in turn.
 *
 * @module
 */
import type { Figure } from "./report.ts";
import { type Bench, inTurn } from "./row.ts";
import { MEASURE_NAMES, type Temperature, type TreeBench, unitOf } from "./tree_bench.ts";

const TEMPERATURES: readonly Temperature[] = ["warm", "cold"];

/** What {@link treeFigures} compares. */
export interface TreeComparison {
  readonly treeBench: TreeBench;
  /** Folder of the tree by the system that shows it. */
  readonly roots: ReadonlyMap<string, string>;
  readonly aim: NonNullable<Figure["aim"]>;
  /** Maximum duration of a cold pass, as a multiple of a warm measurement. Default: 1. */
  readonly coldFactor?: number;
}

/** Takes the measures. */
export async function treeFigures(
  bench: Bench,
  { treeBench, roots, aim, coldFactor = 1 }: TreeComparison,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const temperature of TEMPERATURES) {
    const seconds = temperature === "cold" ? bench.seconds * coldFactor : bench.seconds;
    for (const measure of MEASURE_NAMES) {
      bench.progress(`${temperature} ${measure}`);
      const systems = [...roots].map(([name, root]) => ({
        name,
        measure: () => treeBench.measure(measure, temperature, seconds, root),
      }));
      figures.push({
        name: `${temperature === "cold" ? "local-cold" : "warm"}: ${measure}`,
        unit: unitOf(measure),
        values: Object.fromEntries(await inTurn(bench, systems)),
        aim,
      });
    }
  }
  return figures;
}
