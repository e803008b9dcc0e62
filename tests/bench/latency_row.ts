/**
 * Row `latency`: how soon one and the same image is ready over a link without a limit on which each request takes a while,
 * under nydusd and here, both reading as much ahead as they do by default; see same_image.ts.
 *
 * @module
 */
import type { Figure } from "./report.ts";
import { type Bench, valuesOf } from "./row.ts";
import { startSameImage } from "./same_image.ts";
import { slowLink, workloadRow } from "./workload_row.ts";
import type { WorkloadName, Workloads } from "./workloads.ts";

/** What nydusd extends reads by where nobody says otherwise, bytes. */
const AMPLIFY_IO = 1024 * 1024;

/** Of nydusd's time. */
const AIM = 0.8;

export const latencyRow = workloadRow(
  "latency",
  "time until ready of the same image without a limit, 20 ms a request: nydusd (no prefetch), nydus-gd",
  compare,
);

async function compare(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  await using link = slowLink(workloads, Infinity);
  bench.progress(`${name} without a limit`);
  const results = await startSameImage(bench, workloads, name, link, AMPLIFY_IO);
  const aim = { of: "nydus-gd", against: "nydusd", atMost: AIM };
  return [
    { name: `${name}: ready after`, unit: "s", values: valuesOf(results, "seconds"), aim },
    { name: `${name}: fetched`, unit: "MB", values: valuesOf(results, "megabytes") },
    { name: `${name}: requests`, unit: "1", values: valuesOf(results, "requests") },
  ];
}
