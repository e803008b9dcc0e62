/**
 * Row `erofs`: cost of erofs-fanotify compared with the kernel's EROFS alone, on the same cache files, and its gain over
 * nydusd, which serves the same image by FUSE.
 *
 * Uses a complete image, and one that lacks a single chunk, so that the kernel asks before each read of its blob that
 * is not in EROFS's page cache.
 *
 * @module
 */
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import { mountErofs, READ_AHEAD_KB } from "../../lib/mount/erofs/erofs_mount.ts";
import { makeErofsImage } from "../../lib/rafs/erofs/erofs_image.ts";
import { openBootstrap } from "../../lib/rafs/open.ts";
import { file, tarOf } from "../support/archive/tar_builder.ts";
import { unpacked } from "./fuse_row.ts";
import { folderBackend, mountNydusd, mountNydusGd, type MountOptions } from "./mounts.ts";
import { versionOf } from "./programs.ts";
import { buildOwn } from "./rafs_images.ts";
import type { Aim, Figure } from "./report.ts";
import type { Bench, Row } from "./row.ts";
import { type Measure, type Temperature, TreeBench } from "./tree_bench.ts";
import { treeFigures } from "./tree_figures.ts";
import { type WorkloadName, Workloads } from "./workloads.ts";

const WORKLOAD: WorkloadName = "python";
/** A file besides {@link WORKLOAD}'s own; never read where a chunk must be missing. */
const UNREAD = "unread";
const UNREAD_BYTES = 1 << 20;
/** Share of the figure of EROFS alone, in every line. */
const AIM = 0.97;
/** Multiple of nydusd's figure for names and attributes in the kernel's caches… */
const AIM_WARM = 1.3;
/** …and for small and random reads of cached data that is not in memory. */
const AIM_COLD = 2;

export const erofsRow: Row = {
  name: "erofs",
  about: "the same measures by erofs-fanotify, complete and with a chunk missing, compared with plain EROFS and nydusd",
  async run(bench: Bench): Promise<Figure[]> {
    await using workloads = await Workloads.open({ ...bench, dir: bench.keep, names: [WORKLOAD] });
    const tree = await unpacked(workloads);
    const dir = `${bench.scratch}/erofs`;
    await Deno.mkdir(`${dir}/blobs`, { recursive: true });
    const extra = [tarOf(file(UNREAD, new Uint8Array(UNREAD_BYTES).fill(1))).subarray(0, -1024)];
    await buildOwn(() => Deno.open(workloads.tarOf(WORKLOAD)), dir, extra);
    const treeBench = await TreeBench.make(tree, `${dir}/lists`);
    await using mounts = new AsyncDisposableStack();
    const roots = await mountAll(bench, dir, treeBench, mounts);
    roots.set("ext4", tree);
    const aim = { of: "complete", against: "EROFS", atLeast: AIM };
    return await treeFigures(bench, { treeBench, roots, aim, secondAim: aimOverNydusd });
  },
};

function aimOverNydusd(temperature: Temperature, measure: Measure): Aim | undefined {
  const aim = { of: "complete", against: "nydusd" };
  if (temperature === "warm") {
    return measure === "stat" || measure === "readdir" ? { ...aim, atLeast: AIM_WARM } : undefined;
  }
  return measure === "small files" || measure === "random 4 KiB" ? { ...aim, atLeast: AIM_COLD } : undefined;
}

async function mountAll(
  { program, progress }: Bench,
  dir: string,
  treeBench: TreeBench,
  mounts: AsyncDisposableStack,
): Promise<Map<string, string>> {
  const bootstrap = `${dir}/image.boot`;
  const options = { program, bootstrap, backend: folderBackend(`${dir}/blobs`), fsDriver: "erofs-fanotify" };
  const complete = { ...options, dir: `${dir}/complete` };
  progress("filling the caches");
  await fill(complete, treeBench, [UNREAD]);
  const missing = mounts.use(await mountNydusGd({ ...options, dir: `${dir}/missing` }));
  await treeBench.readAll(missing.path);
  const whole = mounts.use(await mountNydusGd(complete));
  const alone = `${dir}/alone`;
  await mountAlone(bootstrap, `${complete.dir}/cache`, alone);
  mounts.defer(() => umount2(alone, MNT.DETACH));
  const roots = new Map([["EROFS", alone], ["complete", whole.path], ["a chunk missing", missing.path]]);
  if (await versionOf("nydusd") !== undefined) {
    const nydusd = mounts.use(await mountNydusd({ ...options, dir: `${dir}/nydusd` }));
    await treeBench.readAll(nydusd.path);
    roots.set("nydusd", nydusd.path);
  }
  return roots;
}

/** Reads everything once, and `more`, so that the next mount finds the image complete. */
async function fill(options: MountOptions, treeBench: TreeBench, more: readonly string[]): Promise<void> {
  await using mount = await mountNydusGd(options);
  await treeBench.readAll(mount.path);
  for (const name of more) await Deno.readFile(`${mount.path}/${name}`);
}

/** Mounts EROFS on files of a complete cache. @param target path of a new directory */
export async function mountAlone(bootstrap: string, cache: string, target: string): Promise<void> {
  await Deno.mkdir(target);
  const tree = openBootstrap(await Deno.readFile(bootstrap));
  const { bytes, devices } = makeErofsImage(tree);
  await Deno.writeFile(`${target}.image`, bytes);
  const files = devices.map(({ blobIndex }) => `${cache}/${tree.blobs[blobIndex]?.id}.blob.data`);
  mountErofs({ image: `${target}.image`, devices: files, target, readAheadKb: READ_AHEAD_KB });
}
