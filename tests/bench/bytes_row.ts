/**
 * Row `bytes`: what one and the same image fetches until its program is ready, under nydusd and here; by hand, without
 * Docker, so that nothing but the server of the tree differs.
 *
 * ```
 * registry ─► slow link ─► nydusd, or nydus-gd mount ─► overlay ─► chroot, program
 * ```
 * @module
 */
import { NydusGdError } from "../../lib/base/errors.ts";
import type { ColdStart } from "./cold_start.ts";
import { mountNydusd, mountNydusGd, type MountOptions, registryBackend, type ServedMount } from "./mounts.ts";
import { output, versionOf } from "./programs.ts";
import { commonImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, dropCaches, inTurn, type System, valuesOf } from "./row.ts";
import { slowLink, workloadRow } from "./workload_row.ts";
import { ENVIRONMENT, type WorkloadName, WORKLOADS, Workloads } from "./workloads.ts";

const AIM = 1;

/** In a mount namespace: runs a program in an overlay of the image $1 whose changes go below $2. */
const RUN = `
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount --bind /dev "$2/root/dev"
mount -t proc proc "$2/root/proc"
root=$2/root
shift 2
exec chroot "$root" env -i "$@"
`;

export const bytesRow = workloadRow(
  "bytes",
  "bytes and time until ready of the same image: nydusd (no prefetch, amplify_io 0), nydus-gd",
  compare,
);

async function compare(bench: Bench, workloads: Workloads, name: WorkloadName): Promise<Figure[]> {
  const { bootstrap, repository } = await commonImage(workloads, name);
  const MBps = Math.min(...bench.linksMBps);
  await using link = slowLink(workloads, MBps);
  const dir = `${bench.scratch}/bytes`;
  const measure = async (mount: (options: MountOptions) => Promise<ServedMount>): Promise<ColdStart> => {
    await Deno.mkdir(dir);
    await dropCaches();
    link.reset();
    const start = performance.now();
    const backend = registryBackend(link.host, repository);
    const mounted = await mount({ program: bench.program, bootstrap, backend, dir: `${dir}/server` });
    try {
      const words = ["--mount", "--propagation", "private", "sh", "-ec", RUN, "sh", mounted.path, dir];
      const said = await output("unshare", [...words, ...ENVIRONMENT, ...WORKLOADS[name]]);
      const seconds = (performance.now() - start) / 1000;
      if (said.trim() !== "ready") throw new NydusGdError("internal", `Cannot measure ${name}: it said ${said}`);
      const { bytes, requests } = link.traffic();
      return { seconds, megabytes: bytes / 1e6, requests };
    } finally {
      await mounted[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    }
  };
  const systems: System<ColdStart>[] = [];
  if (await versionOf("nydusd") !== undefined) systems.push({ name: "nydusd", measure: () => measure(mountNydusd) });
  systems.push({ name: "nydus-gd", measure: () => measure(mountNydusGd) });
  bench.progress(`${name} over ${MBps} MB/s`);
  const results = await inTurn(bench, systems);
  const aim = { of: "nydus-gd", against: "nydusd", atMost: AIM };
  return [
    { name: `${name}: fetched`, unit: "MB", values: valuesOf(results, "megabytes"), aim },
    { name: `${name}: requests`, unit: "1", values: valuesOf(results, "requests") },
    { name: `${name}: ready after`, unit: "s", values: valuesOf(results, "seconds"), aim },
  ];
}
