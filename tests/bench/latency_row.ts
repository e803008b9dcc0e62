/**
 * Row `latency`: time until the same image is ready under nydusd and nydus-gd, over an unlimited link with a delay per
 * request, with the defaults of each, but that nydusd does not prefetch, which would delay it; see same_image.ts. By
 * default nydus-gd makes an image for the kernel before it mounts; by fuse it does not.
 *
 * @module
 */
import type { Figure } from "./report.ts";
import { type Bench, valuesOf } from "./row.ts";
import { startSameImage } from "./same_image.ts";
import { slowLink, workloadRow } from "./workload_row.ts";
import type { WorkloadName, Workloads } from "./workloads.ts";

/** nydusd's default for the extension of reads, bytes. */
const AMPLIFY_IO = 1024 * 1024;

/** Share of nydusd's time. */
const AIM = 0.8;

export const latencyRow = workloadRow(
  "latency",
  "time until ready of the same image without a limit, 20 ms a request: nydusd (no prefetch), nydus-gd, and by fuse",
  compare,
);

async function compare(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  await using link = slowLink(workloads, Infinity);
  bench.progress(`${name} without a limit`);
  const reading = { amplifyIo: AMPLIFY_IO, prefetches: true, alsoByFuse: true };
  const results = await startSameImage(bench, workloads, name, link, reading);
  const seconds = valuesOf(results, "seconds");
  const aim = (of: string) => ({ of, against: "nydusd", atMost: AIM });
  return [
    { name: `${name}: ready after`, unit: "s", values: seconds, aim: aim("nydus-gd") },
    { name: `${name}: by fuse`, unit: "s", values: seconds, aim: aim("fuse") },
    { name: `${name}: fetched`, unit: "MB", values: valuesOf(results, "megabytes") },
    { name: `${name}: requests`, unit: "1", values: valuesOf(results, "requests") },
  ];
}
