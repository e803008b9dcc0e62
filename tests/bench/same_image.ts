/**
 * Starts the same image without Docker under nydusd and nydus-gd, so that only the server of the tree differs. Measures
 * from the start of the server until the program is ready.
 *
 * ```
 * registry ─► slow link ─► nydusd, or nydus-gd mount ─► overlay ─► chroot, program
 * ```
 * @module
 */
import type { Throttle } from "../../lib/demo/throttle.ts";
import { NydusGdError } from "../../lib/base/errors.ts";
import type { ColdStart } from "./cold_start.ts";
import { mountNydusd, mountNydusGd, type MountOptions, registryBackend, type ServedMount } from "./mounts.ts";
import { output, versionOf } from "./programs.ts";
import { commonImage } from "./rafs_images.ts";
import { type Bench, dropCaches, inTurn, type System } from "./row.ts";
import { ENVIRONMENT, type WorkloadName, WORKLOADS, type Workloads } from "./workloads.ts";

/** Runs in a mount namespace: starts a program in an overlay of the image $1 with its changes below $2. */
const RUN = `
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount --bind /dev "$2/root/dev"
mount -t proc proc "$2/root/proc"
root=$2/root
shift 2
exec chroot "$root" env -i "$@"
`;

/** How the servers read. */
export interface Reading extends Pick<MountOptions, "amplifyIo" | "prefetches"> {
  /** Whether nydus-gd is measured by the data path fuse, too. */
  readonly alsoByFuse?: boolean;
}

/**
 * Starts the workload over the link, `bench.runs` times under each server. Returns results by "nydusd", "nydus-gd", and
 * "fuse" for {@link Reading.alsoByFuse}.
 */
export async function startSameImage(
  bench: Bench,
  workloads: Workloads,
  name: WorkloadName,
  link: Throttle,
  { alsoByFuse = false, ...reading }: Reading = {},
): Promise<ReadonlyMap<string, readonly ColdStart[]>> {
  const { bootstrap, repository } = await commonImage(workloads, name);
  const dir = `${bench.scratch}/same-image`;
  const measure = async (mount: (options: MountOptions) => Promise<ServedMount>): Promise<ColdStart> => {
    await Deno.mkdir(dir);
    await dropCaches();
    link.reset();
    const start = performance.now();
    const backend = registryBackend(link.host, repository);
    const mounted = await mount({ program: bench.program, bootstrap, backend, dir: `${dir}/server`, ...reading });
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
  const byFuse = (options: MountOptions) => mountNydusGd({ ...options, fsDriver: "fuse" });
  if (alsoByFuse) systems.push({ name: "fuse", measure: () => measure(byFuse) });
  return await inTurn(bench, systems);
}
