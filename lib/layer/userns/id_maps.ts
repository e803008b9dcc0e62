/**
 * User namespaces: mapping between ids of containers and of the host (dockerd's `userns-remap`).
 *
 * Files of layers have host ids, entries of tars have container ids: ApplyDiff maps one way, Diff the other. Without
 * maps they are the same.
 *
 * @module
 */

/** Maps `size` ids starting at `containerId` to those starting at `hostId`. */
export interface IdRange {
  readonly containerId: number;
  readonly hostId: number;
  readonly size: number;
}

/** Empty arrays: no mapping. Plain data that can be sent to Workers. */
export interface IdMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** No mapping: ids are the host's. */
export const NO_ID_MAPS: IdMaps = { uids: [], gids: [] };

/** A user and a group. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whether any mapping is configured. */
export function isMapped({ uids, gids }: IdMaps): boolean {
  return uids.length > 0 || gids.length > 0;
}

/** The owner on the host; undefined if a container's id is not mapped. */
export function toHost(maps: IdMaps, owner: Owner): Owner | undefined {
  return shifted(maps, owner, "containerId", "hostId");
}

/** The inverse of {@link toHost}. */
export function toContainer(maps: IdMaps, owner: Owner): Owner | undefined {
  return shifted(maps, owner, "hostId", "containerId");
}

/** Host ids of the containers' root: the owner of files in layers unless a tar says otherwise. */
export function rootOwner(maps: IdMaps): Owner {
  return toHost(maps, { uid: 0, gid: 0 }) ?? { uid: 0, gid: 0 };
}

type Side = "containerId" | "hostId";

function shifted(maps: IdMaps, { uid, gid }: Owner, from: Side, to: Side): Owner | undefined {
  const user = shift(maps.uids, uid, from, to);
  const group = shift(maps.gids, gid, from, to);
  return user === undefined || group === undefined ? undefined : { uid: user, gid: group };
}

function shift(ranges: readonly IdRange[], id: number, from: Side, to: Side): number | undefined {
  if (ranges.length === 0) return id;
  const range = ranges.find((each) => id >= each[from] && id < each[from] + each.size);
  return range === undefined ? undefined : range[to] + id - range[from];
}
