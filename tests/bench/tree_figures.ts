/**
 * Every measure of a tree, warm and cold, of several systems in turn.
 *
 * @module
 */
import type { Aim, Figure } from "./report.ts";
import { type Bench, inTurn } from "./row.ts";
import { type Measure, MEASURE_NAMES, type Temperature, type TreeBench, unitOf } from "./tree_bench.ts";

const TEMPERATURES: readonly Temperature[] = ["warm", "cold"];

/** What {@link treeFigures} compares. */
export interface TreeComparison {
  readonly treeBench: TreeBench;
  /** Folder of the tree by the system that shows it. */
  readonly roots: ReadonlyMap<string, string>;
  readonly aim: Aim;
  /** A second aim, which gets a line of its own. */
  readonly secondAim?: (temperature: Temperature, measure: Measure) => Aim | undefined;
  /** Maximum duration of a cold pass, as a multiple of a warm measurement. Default: 1. */
  readonly coldFactor?: number;
}

/** Takes the measures. */
export async function treeFigures(
  bench: Bench,
  { treeBench, roots, aim, secondAim, coldFactor = 1 }: TreeComparison,
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
      const values = Object.fromEntries(await inTurn(bench, systems));
      const name = `${temperature === "cold" ? "local-cold" : "warm"}: ${measure}`;
      figures.push({ name, unit: unitOf(measure), values, aim });
      const second = secondAim?.(temperature, measure);
      if (second !== undefined) figures.push(only(second, { name, unit: unitOf(measure), values }));
    }
  }
  return figures;
}

/** Returns a figure of the two systems that the aim concerns; those that were not measured are left out. */
function only(aim: Aim, { name, unit, values }: Omit<Figure, "aim">): Figure {
  const concerned = Object.entries(values).filter(([system]) => system === aim.of || system === aim.against);
  return { name: `${name}, to ${aim.against}`, unit, values: Object.fromEntries(concerned), aim };
}
