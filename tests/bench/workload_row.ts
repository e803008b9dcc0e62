/**
 * Common parts of rows that start workloads over a slow link.
 *
 * @module
 */
import { Throttle } from "../../lib/demo/throttle.ts";
import type { Figure } from "./report.ts";
import type { Bench, Row } from "./row.ts";
import { type WorkloadName, Workloads } from "./workloads.ts";

/** Delay between request and response. */
const DELAY_MS = 20;

/** Defines a row that measures one workload after the other. */
export function workloadRow(
  name: string,
  about: string,
  measure: (bench: Bench, workloads: Workloads, workload: WorkloadName) => Promise<Figure[]>,
): Row {
  return {
    name,
    about,
    async run(bench: Bench): Promise<Figure[]> {
      await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: bench.workloads });
      const figures: Figure[] = [];
      for (const workload of bench.workloads) figures.push(...await measure(bench, workloads, workload));
      return figures;
    },
  };
}

/** Opens a link of `MBps` to the registry of the workloads. */
export function slowLink({ registry }: Workloads, MBps: number): Throttle {
  return new Throttle({ upstream: `http://${registry.host}`, bytesPerSecond: MBps * 1e6, delayMs: DELAY_MS });
}
