/**
 * Row `start`: from `docker pull` to the container's first line, over slow links: all of the image on overlay2 first, or
 * lazily.
 *
 * @module
 */
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import { Throttle } from "../../lib/demo/throttle.ts";
import { type ColdStart, coldStart } from "./cold_start.ts";
import { versionOf } from "./programs.ts";
import { rafsImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, inTurn, type Row, type System, valuesOf } from "./row.ts";
import { type WorkloadName, WORKLOADS, Workloads } from "./workloads.ts";

/** Between request and answer. */
export const DELAY_MS = 20;
const AIM = 5;

export const startRow: Row = {
  name: "start",
  about: "start to ready over a slow link: overlay2 (pull and run), nydus-gd",
  async run(bench: Bench): Promise<Figure[]> {
    await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: bench.workloads });
    const figures: Figure[] = [];
    for (const name of bench.workloads) {
      for (const MBps of bench.linksMBps) figures.push(...await startOver(bench, workloads, name, MBps));
    }
    return figures;
  },
};

async function startOver(bench: Bench, workloads: Workloads, name: WorkloadName, MBps: number): Promise<Figure[]> {
  const upstream = `http://${workloads.registry.host}`;
  await using link = new Throttle({ upstream, bytesPerSecond: MBps * 1e6, delayMs: DELAY_MS });
  const common = { link, command: WORKLOADS[name] };
  const own = await rafsImage(workloads, name, "nydus-gd");
  const systems: System<ColdStart>[] = [
    {
      name: "overlay2",
      measure: () => coldStart(bench, { ...common, driver: "overlay2", repository: `bench/${name}` }),
    },
    {
      name: "nydus-gd",
      measure: () => coldStart(bench, { ...common, driver: DRIVER_NAME, repository: own.repository }),
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
