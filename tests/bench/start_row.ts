/**
 * Row `start`: time from `docker pull` to the container's first line over slow links: with overlay2, which pulls the
 * whole image first, and lazily, from images converted by default and optimized for the start.
 *
 * @module
 */
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { type ColdStart, coldStart } from "./cold_start.ts";
import { versionOf } from "./programs.ts";
import { optimizedImage, rafsImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, inTurn, type System, valuesOf } from "./row.ts";
import { slowLink, workloadRow } from "./workload_row.ts";
import { type WorkloadName, WORKLOADS, type Workloads } from "./workloads.ts";

const AIM = 5;

export const startRow = workloadRow(
  "start",
  "start to ready over a slow link: overlay2 (pull and run), nydus-gd",
  async (bench, workloads, name) => {
    const figures: Figure[] = [];
    for (const MBps of bench.linksMBps) figures.push(...await startOver(bench, workloads, name, MBps));
    return figures;
  },
);

async function startOver(bench: Bench, workloads: Workloads, name: WorkloadName, MBps: number): Promise<Figure[]> {
  await using link = slowLink(workloads, MBps);
  const common = { link, command: WORKLOADS[name] };
  const own = await rafsImage(workloads, name, "nydus-gd");
  const optimized = await optimizedImage(workloads, name, bench.program);
  const systems: System<ColdStart>[] = [
    {
      name: "overlay2",
      measure: () => coldStart(bench, { ...common, driver: "overlay2", repository: `bench/${name}` }),
    },
    {
      name: "nydus-gd",
      measure: () => coldStart(bench, { ...common, driver: DRIVER_NAME, repository: own.repository }),
    },
    {
      name: "nydus-gd, --optimize-run",
      measure: () => coldStart(bench, { ...common, driver: DRIVER_NAME, repository: optimized }),
    },
  ];
  if (await versionOf("nydus-image") !== undefined) {
    const { repository } = await rafsImage(workloads, name, "nydus-image");
    systems.push({
      name: "nydus-gd, image of nydus-image",
      measure: () => coldStart(bench, { ...common, driver: DRIVER_NAME, repository }),
    });
  }
  bench.progress(`${name} over ${MBps} MB/s`);
  const results = await inTurn(bench, systems);
  return [
    {
      name: `${name}, ${MBps} MB/s`,
      unit: "s",
      values: valuesOf(results, "seconds"),
      aim: { of: "overlay2", against: "nydus-gd", atLeast: AIM },
    },
    { name: `${name}, ${MBps} MB/s: fetched`, unit: "MB", values: valuesOf(results, "megabytes") },
  ];
}
