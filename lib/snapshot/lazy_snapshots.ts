/**
 * Lists the snapshots that hold the bootstrap of a lazy image, whether or not they are being served.
 *
 * @module
 */
import type { LazyLayer } from "../layer/lazy_images.ts";
import { readSnapshots } from "./snapshot_files.ts";
import { SnapshotPaths } from "./snapshot_paths.ts";
import { lazyImageOf } from "./snapshot_record.ts";

/** All of them as layers; empty if the folder does not exist. @param dir of the store */
export async function lazySnapshotsIn(dir: string): Promise<LazyLayer[]> {
  const paths = new SnapshotPaths(dir);
  const { snapshots } = await readSnapshots(paths);
  const layers = snapshots.map((snapshot) => lazyImageOf(snapshot, paths));
  return layers.filter((layer) => layer !== undefined);
}
