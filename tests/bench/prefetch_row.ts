/**
 * Row `prefetch`: whether what is fetched in the background delays what a container waits for.
 *
 * With prefetch on, everything of the image is asked for as soon as its first container starts.
 *
 * @module
 */
import http from "node:http";
import { NydusGdError } from "../../lib/base/errors.ts";
import { ADMIN_SOCKET } from "../../lib/cli/actions.ts";
import { askDaemon } from "../../lib/cli/admin_client.ts";
import { DRIVER_NAME } from "../../lib/demo/graph_driver.ts";
import type { Sandbox } from "../../lib/demo/sandbox.ts";
import { Throttle } from "../../lib/demo/throttle.ts";
import type { StatusDocument } from "../../lib/image/status_document.ts";
import { coldStart } from "./cold_start.ts";
import { commonImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, inTurn, type Row, type System, valuesOf } from "./row.ts";
import { DELAY_MS } from "./start_row.ts";
import { type WorkloadName, WORKLOADS, Workloads } from "./workloads.ts";

const AIM = 1.05;
/** How long the image may take to be mounted after the pull. */
const MOUNT_TIMEOUT_MS = 30_000;
const POLL_MS = 10;

export const prefetchRow: Row = {
  name: "prefetch",
  about: "time until ready with all of the image being prefetched in the background, and without",
  async run(bench: Bench): Promise<Figure[]> {
    await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: bench.workloads });
    const figures: Figure[] = [];
    for (const name of bench.workloads) figures.push(...await compare(bench, workloads, name));
    return figures;
  },
};

async function compare(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  const { repository } = await commonImage(workloads, name);
  const MBps = Math.min(...bench.linksMBps);
  const upstream = `http://${workloads.registry.host}`;
  await using link = new Throttle({ upstream, bytesPerSecond: MBps * 1e6, delayMs: DELAY_MS });
  const common = { link, driver: DRIVER_NAME, repository, command: WORKLOADS[name] } as const;
  const env = (enabled: boolean) => ({ NYDUS_GD_PREFETCH_ENABLED: String(enabled) });
  const systems: System<{ seconds: number; megabytes: number }>[] = [
    { name: "prefetch off", measure: () => coldStart(bench, { ...common, env: env(false) }) },
    {
      name: "prefetch on",
      measure: () => coldStart(bench, { ...common, env: env(true), meanwhile: prefetchWhenMounted }),
    },
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

/** Asks for all of the first image that is mounted. */
async function prefetchWhenMounted(sandbox: Sandbox): Promise<void> {
  const socketPath = `/proc/${sandbox.initPid}/root${ADMIN_SOCKET}`;
  const deadline = AbortSignal.timeout(MOUNT_TIMEOUT_MS);
  for (;;) {
    const { images } = await askDaemon(socketPath, "/v1/status", deadline) as StatusDocument;
    const [image] = images;
    if (image !== undefined) return await post(socketPath, `/v1/mounts/${encodeURIComponent(image.layer)}/prefetch`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function post(socketPath: string, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const request = http.request({ socketPath, path, method: "POST", headers: { connection: "close" } }, (response) => {
    response.resume();
    response.on("end", () => resolve(response.statusCode));
    response.on("error", reject);
  });
  request.on("error", reject);
  request.end();
  const status = await promise;
  if (status !== 202) {
    throw new NydusGdError("unavailable", `Cannot prefetch: the daemon answers ${path} with ${status}`);
  }
}
