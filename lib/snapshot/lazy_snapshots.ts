/**
 * Lists the snapshots that hold the bootstrap of a lazy image, whether or not they are being served.
 *
 * @module
 */
import { hasCode, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { LazyLayer } from "../layer/lazy/lazy_images.ts";
import { SnapshotBases } from "./snapshot_bases.ts";
import { readSnapshots } from "./snapshot_files.ts";
import { SnapshotIndex } from "./snapshot_index.ts";
import { SnapshotPaths } from "./snapshot_paths.ts";
import { lazyImageOf } from "./snapshot_record.ts";

const log = logger("snapshot");

/** Those that active snapshots and views are stacked on, which may be mounted; empty if the folder does not exist. */
export async function lazySnapshotsInUse(dir: string): Promise<LazyLayer[]> {
  const paths = new SnapshotPaths(dir);
  const { snapshots } = await readSnapshots(paths);
  const bases = new SnapshotBases(new SnapshotIndex(snapshots), paths);
  return snapshots.filter(({ kind }) => kind !== "committed").flatMap(({ name, parent }) => {
    try {
      return bases.of(parent).lazy ?? [];
    } catch (error) {
      if (!hasCode(error, "corrupt")) throw error;
      log.debug("snapshot not inspected", { name, reason: messageOf(error) });
      return [];
    }
  });
}

/** All of them as layers; empty if the folder does not exist. @param dir of the store */
export async function lazySnapshotsIn(dir: string): Promise<LazyLayer[]> {
  const paths = new SnapshotPaths(dir);
  const { snapshots } = await readSnapshots(paths);
  const layers = snapshots.map((snapshot) => lazyImageOf(snapshot, paths));
  return layers.filter((layer) => layer !== undefined);
}
