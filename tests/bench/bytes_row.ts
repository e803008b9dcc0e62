/**
 * Row `bytes`: data fetched by nydusd and nydus-gd for the same image until its program is ready, over the slowest
 * link; see same_image.ts.
 *
 * @module
 */
import type { Figure } from "./report.ts";
import { type Bench, valuesOf } from "./row.ts";
import { startSameImage } from "./same_image.ts";
import { slowLink, workloadRow } from "./workload_row.ts";
import type { WorkloadName, Workloads } from "./workloads.ts";

const AIM = 1;

export const bytesRow = workloadRow(
  "bytes",
  "bytes and time until ready of the same image: nydusd (no prefetch, amplify_io 0), nydus-gd",
  compare,
);

async function compare(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  const MBps = Math.min(...bench.linksMBps);
  await using link = slowLink(workloads, MBps);
  bench.progress(`${name} over ${MBps} MB/s`);
  const results = await startSameImage(bench, workloads, name, link);
  const aim = { of: "nydus-gd", against: "nydusd", atMost: AIM };
  return [
    { name: `${name}: fetched`, unit: "MB", values: valuesOf(results, "megabytes"), aim },
    { name: `${name}: requests`, unit: "1", values: valuesOf(results, "requests") },
    { name: `${name}: ready after`, unit: "s", values: valuesOf(results, "seconds"), aim },
  ];
}
