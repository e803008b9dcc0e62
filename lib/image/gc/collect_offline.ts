/**
 * Collects the garbage of a daemon that is not running.
 *
 * Holds the daemon's locks, so that it cannot start in the meantime. Images left mounted for its successor are on
 * record and are kept.
 *
 * @module
 */
import { mountAt, mountsBelow } from "../../../ffi/mountinfo.ts";
import { hasCode, ignore, NydusGdError } from "../../base/errors.ts";
import { BlobCache } from "../../blob/blob_cache.ts";
import type { CacheLimits } from "../../blob/cache/cache_limits.ts";
import { lockFile } from "../../base/server_lock.ts";
import { damagedLayersIn } from "../../layer/record/layer_damage.ts";
import type { LazyLayer } from "../../layer/lazy/lazy_images.ts";
import { lazyLayersIn } from "../../layer/record/lazy_layers.ts";
import { servedHome } from "../../layer/home/served_home.ts";
import { lazySnapshotsIn } from "../../snapshot/lazy_snapshots.ts";
import { readSnapshots } from "../../snapshot/snapshot_files.ts";
import { SnapshotPaths, snapshotterDir } from "../../snapshot/snapshot_paths.ts";
import { MountRecord, mountRecordPath } from "../lazy/records/mount_record.ts";
import { PulledImages } from "../lazy/records/pulled_images.ts";
import { collectGarbage, type GarbageOptions, type GarbageReport } from "./collect_garbage.ts";
import { STATE_FOLDERS } from "./state_left_overs.ts";

/** Directories of the daemon. */
export interface OfflinePlaces {
  readonly root: string;
  readonly cacheDir: string;
  readonly limits: CacheLimits;
}

/**
 * Frees the cache of a daemon that is not running.
 *
 * @throws {NydusGdError} "not-found" if there is no state, "busy" if the daemon is running; as {@link collectGarbage}
 */
export async function collectOffline(
  { root, cacheDir, limits }: OfflinePlaces,
  options: GarbageOptions,
): Promise<GarbageReport> {
  const stateDir = `${root}/state`;
  if (await ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], Deno.stat(stateDir)) === undefined) {
    throw new NydusGdError("not-found", `Cannot free cache: no daemon has its state in ${root}`, {
      hint: "pass the same --root DIR as to nydus-gd serve",
    });
  }
  using _lock = lockFile(`${root}/lock`, `root "${root}"`);
  await using cache = BlobCache.open(cacheDir, { limits, setBy: "cache.dir" });
  const pulled = await PulledImages.open(`${stateDir}/${STATE_FOLDERS.pulled}`);
  const layers = await layersOf(stateDir, snapshotterDir(root));
  const sources = { cache, stateDir, pulled, layers, mounted: await leftMounted(root), images: undefined };
  return await collectGarbage(sources, options);
}

/**
 * Returns undefined if it is not known: neither Docker nor containerd has ever called, Docker's folder does not exist at
 * present, or the file that names it is damaged, or a layer or snapshot.
 */
async function layersOf(stateDir: string, snapshotsDir: string): Promise<LazyLayer[] | undefined> {
  let home: string | undefined;
  try {
    home = await servedHome(stateDir);
  } catch (error) {
    if (!hasCode(error, "corrupt")) throw error;
    return undefined;
  }
  if (home === undefined && !await isThere(snapshotsDir)) return undefined;
  if (home !== undefined && (!await isThere(home) || (await damagedLayersIn(home)).length > 0)) return undefined;
  if ((await readSnapshots(new SnapshotPaths(snapshotsDir))).damaged.length > 0) return undefined;
  return [...home === undefined ? [] : await lazyLayersIn(home), ...await lazySnapshotsIn(snapshotsDir)];
}

async function isThere(folder: string): Promise<boolean> {
  return await ignore(Deno.errors.NotFound, Deno.stat(folder)) !== undefined;
}

/** Layers whose images are mounted; undefined if that is not known. */
async function leftMounted(root: string): Promise<LazyLayer[] | undefined> {
  const isMounted = mountAt(`${root}/images`) !== undefined || mountsBelow(`${root}/erofs`).length > 0;
  if (!isMounted) return [];
  const record = await MountRecord.open(mountRecordPath(`${root}/state`));
  return record.isLost ? undefined : record.list();
}
