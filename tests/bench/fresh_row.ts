/**
 * Row `fresh`: names and attributes of an image just mounted, compared with the same tree on ext4. The kernel has
 * cached nothing of either before the mount.
 *
 * @module
 */
import { folderBackend, mountNydusGd, type MountOptions } from "./mounts.ts";
import { unpacked } from "./fuse_row.ts";
import { commonImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import { type Bench, dropCaches, inTurn, type Row } from "./row.ts";
import { type Measure, TreeBench, unitOf } from "./tree_bench.ts";
import { type WorkloadName, Workloads } from "./workloads.ts";

const WORKLOAD: WorkloadName = "python";
const DRIVERS = ["erofs-fanotify", "erofs-fuse", "fuse"] as const;
const MEASURES: readonly Measure[] = ["stat", "readdir"];
const MAX_SECONDS = 60;
/** Share of the figure of ext4. */
const AIM = 0.9;

export const freshRow: Row = {
  name: "fresh",
  about: "stat and readdir of all of an image that was just mounted, compared with plain ext4",
  async run(bench: Bench): Promise<Figure[]> {
    await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: [WORKLOAD] });
    const tree = await unpacked(workloads);
    const dir = `${bench.scratch}/fresh`;
    await Deno.mkdir(dir);
    const { bootstrap, blobDir } = await commonImage(workloads, WORKLOAD);
    const options = { program: bench.program, bootstrap, backend: folderBackend(blobDir), dir: `${dir}/mount` };
    const treeBench = await listed(options, `${dir}/lists`);
    const onMount = (fsDriver: string, measure: Measure) => async () => {
      await dropCaches();
      await using mounted = await mountNydusGd({ ...options, fsDriver });
      return await treeBench.measure(measure, "fresh", MAX_SECONDS, mounted.path);
    };
    const figures: Figure[] = [];
    for (const measure of MEASURES) {
      bench.progress(measure);
      const systems = [
        { name: "ext4", measure: () => treeBench.measure(measure, "cold", MAX_SECONDS, tree) },
        ...DRIVERS.map((fsDriver) => ({ name: fsDriver, measure: onMount(fsDriver, measure) })),
      ];
      figures.push({
        name: `fresh: ${measure}`,
        unit: unitOf(measure),
        values: Object.fromEntries(await inTurn(bench, systems)),
        aim: { of: "erofs-fanotify", against: "ext4", atLeast: AIM },
      });
    }
    return figures;
  },
};

/** Lists paths from the image, since the tree on ext4 also has what Docker adds to a container. */
async function listed(options: MountOptions, dir: string): Promise<TreeBench> {
  await using mounted = await mountNydusGd({ ...options, fsDriver: "fuse" });
  return await TreeBench.make(mounted.path, dir);
}
