/**
 * Row `prefetch`: whether background prefetch delays the data that a container waits for.
 *
 * @module
 */
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { type ColdStart, coldStart, PREFETCH } from "./cold_start.ts";
import { commonImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, inTurn, type System, valuesOf } from "./row.ts";
import { slowLink, workloadRow } from "./workload_row.ts";
import { type WorkloadName, WORKLOADS, Workloads } from "./workloads.ts";

const AIM = 1.05;

export const prefetchRow = workloadRow(
  "prefetch",
  "time until ready with all of the image being prefetched in the background, and without",
  compare,
);

async function compare(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  const { repository } = await commonImage(workloads, name);
  const MBps = Math.min(...bench.linksMBps);
  await using link = slowLink(workloads, MBps);
  const common = { link, driver: DRIVER_NAME, repository, command: WORKLOADS[name] } as const;
  const systems: System<ColdStart>[] = [
    { name: "prefetch off", measure: () => coldStart(bench, { ...common, env: PREFETCH.off }) },
    { name: "prefetch on", measure: () => coldStart(bench, { ...common, env: PREFETCH.on }) },
  ];
  bench.progress(`${name} over ${MBps} MB/s`);
  const results = await inTurn(bench, systems);
  return [
    {
      name: `${name}: ready after`,
      unit: "s",
      values: valuesOf(results, "seconds"),
      aim: { of: "prefetch on", against: "prefetch off", atMost: AIM },
    },
    { name: `${name}: fetched`, unit: "MB", values: valuesOf(results, "megabytes") },
  ];
}
