/**
 * Row `fuse`: speed of a tree whose data are all local, compared with the same tree on ext4 and under nydusd.
 * `nydus-gd` is the data path fuse.
 *
 * Warm: in the kernel's caches. Local-cold: the kernel's caches are dropped, every chunk is in the cache file on disk.
 *
 * @module
 */
import { messageOf } from "../../lib/base/errors.ts";
import { isRefusal } from "../../lib/mount/data_path.ts";
import { folderBackend, mountNydusd, mountNydusGd, type ServedMount } from "./mounts.ts";
import { output, versionOf } from "./programs.ts";
import { commonImage } from "./rafs_images.ts";
import type { Figure } from "./report.ts";
import type { Bench, Row } from "./row.ts";
import { TreeBench } from "./tree_bench.ts";
import { treeFigures } from "./tree_figures.ts";
import { exists, type WorkloadName, Workloads } from "./workloads.ts";

/** The workload with the largest tree. */
const WORKLOAD: WorkloadName = "python";
/** Maximum duration of a cold pass, as a multiple of a warm measurement: its beginning alone is not representative. */
const COLD_FACTOR = 4;
/** Share of nydusd's figure, in every line. */
const AIM = 0.9;

export const fuseRow: Row = {
  name: "fuse",
  about: "stat, readdir, small files, sequential and random reads, all data local: ext4, nydusd, nydus-gd, erofs-fuse",
  async run(bench: Bench): Promise<Figure[]> {
    await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: [WORKLOAD] });
    const tree = await unpacked(workloads);
    const dir = `${bench.scratch}/fuse`;
    await Deno.mkdir(dir);
    await using mounts = new AsyncDisposableStack();
    const mounted = await mountAll(bench, workloads, dir, mounts);
    const roots = new Map([["ext4", tree]]);
    // the tree on ext4 also has what Docker adds to a container
    const treeBench = await TreeBench.make(mounted.get("nydus-gd")?.path ?? tree, `${dir}/lists`);
    for (const [name, { path }] of mounted) {
      roots.set(name, path);
      bench.progress(`filling the cache of ${name}`);
      await treeBench.readAll(path);
    }
    const aim = { of: "nydus-gd", against: "nydusd", atLeast: AIM };
    return await treeFigures(bench, { treeBench, roots, aim, coldFactor: COLD_FACTOR });
  },
};

/** Unpacks the tree to plain files, once. */
export async function unpacked(workloads: Workloads): Promise<string> {
  const dir = `${workloads.dir}/${WORKLOAD}/rootfs`;
  if (await exists(dir)) return dir;
  await Deno.mkdir(`${dir}.part`, { recursive: true });
  await output("tar", ["--extract", `--file=${workloads.tarOf(WORKLOAD)}`, `--directory=${dir}.part`]);
  await Deno.rename(`${dir}.part`, dir);
  return dir;
}

async function mountAll(
  { program, progress }: Bench,
  workloads: Workloads,
  dir: string,
  mounts: AsyncDisposableStack,
): Promise<Map<string, ServedMount>> {
  const { bootstrap, blobDir } = await commonImage(workloads, WORKLOAD);
  const options = { program, bootstrap, backend: folderBackend(blobDir) };
  const mounted = new Map<string, ServedMount>();
  if (await versionOf("nydusd") !== undefined) {
    mounted.set("nydusd", mounts.use(await mountNydusd({ ...options, dir: `${dir}/nydusd` })));
  }
  const gd = await mountNydusGd({ ...options, dir: `${dir}/nydus-gd`, fsDriver: "fuse" });
  mounted.set("nydus-gd", mounts.use(gd));
  try {
    const erofs = await mountNydusGd({ ...options, dir: `${dir}/erofs-fuse`, fsDriver: "erofs-fuse" });
    mounted.set("erofs-fuse", mounts.use(erofs));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    progress(`without erofs-fuse: ${messageOf(error)}`); // some kernels do not support it
  }
  return mounted;
}
