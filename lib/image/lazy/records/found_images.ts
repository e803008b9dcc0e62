/**
 * Finds the images that an earlier process has mounted, if its record of them is lost.
 *
 * ```
 * mountinfo ── EROFS at <erofsDir>/<layer id> ──────────────────► erofs-…    also images that nobody uses
 * layers that are mounted, snapshots ── what they are stacked on ► fuse      only images in use: others are mounted again
 * ```
 * That is all that readers need: which image is meant, and which server the kernel asks. A wrong guess of the data path
 * is an error for readers, never wrong bytes, since no server answers for files that it does not know.
 *
 * @module
 */
import { type MountEntry, mountsBelow } from "../../../../ffi/mountinfo.ts";
import type { LayersLeft, LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import { lazyLayersIn, lazyLayersInUse } from "../../../layer/record/lazy_layers.ts";
import type { FsDriver } from "../../../mount/data_path.ts";
import { EROFS_TYPE } from "../../../mount/erofs/erofs_mount.ts";
import { fanotifyKeeperPath, Keeper } from "../../../mount/keeper/keeper.ts";
import { lazySnapshotsIn, lazySnapshotsInUse } from "../../../snapshot/lazy_snapshots.ts";
import type { RecordedLayer } from "./mount_record.ts";

/** Where an earlier process had its mounts and its state. */
interface Places {
  readonly erofsDir: string;
  readonly stateDir: string;
}

/**
 * Returns the layers that the disk tells of, whether or not they are being served.
 *
 * @param home of the graph driver; undefined if it is not known, or there is none
 * @param snapshotsDir folder of the snapshots, if there are any
 */
export async function layersLeft(home: string | undefined, snapshotsDir: string): Promise<LayersLeft> {
  const [ofDocker, ofContainerd] = await Promise.all([
    home === undefined ? [] : lazyLayersIn(home),
    lazySnapshotsIn(snapshotsDir),
  ]);
  const [usedByDocker, usedByContainerd] = await Promise.all([
    home === undefined ? [] : lazyLayersInUse(home),
    lazySnapshotsInUse(snapshotsDir),
  ]);
  return { all: [...ofDocker, ...ofContainerd], inUse: [...usedByDocker, ...usedByContainerd] };
}

/** Returns the images among `left` that are mounted. */
export async function findMounted({ all, inUse }: LayersLeft, places: Places): Promise<RecordedLayer[]> {
  const erofs = await erofsMounts(places);
  const isUsed = new Set(inUse.map(({ id }) => id));
  const fsDriverOf = ({ id }: LazyLayer) =>
    erofs.get(`${places.erofsDir}/${id}`) ?? (isUsed.has(id) ? "fuse" : undefined);
  return all.flatMap((layer) => {
    const fsDriver = fsDriverOf(layer);
    return fsDriver === undefined ? [] : [{ ...layer, fsDriver, isSuspect: false }];
  });
}

/** The data paths of EROFS mounts, by mount point. */
async function erofsMounts({ erofsDir, stateDir }: Places): Promise<Map<string, FsDriver>> {
  const mounts = mountsBelow(erofsDir).filter(({ fsType }) => fsType === EROFS_TYPE);
  if (mounts.length === 0) return new Map();
  const isWatched = await Keeper.isOfThisBoot(fanotifyKeeperPath(stateDir));
  const fsDriverOf = ({ superOptions }: MountEntry) =>
    superOptions.includes("fsid=") ? "erofs-fscache" : isWatched ? "erofs-fanotify" : "erofs-fuse";
  return new Map(mounts.map((mount) => [mount.mountPoint, fsDriverOf(mount)]));
}
