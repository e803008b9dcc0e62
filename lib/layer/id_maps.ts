/**
 * User namespaces: which ids of containers are which of the host (dockerd's `userns-remap`).
 *
 * Files of layers belong to ids of the host, entries of tars to ids of containers: an ApplyDiff shifts one way, a Diff
 * the other. Without maps both are the same.
 *
 * @module
 */

/** `size` ids from `containerId` on are those from `hostId` on. */
export interface IdRange {
  readonly containerId: number;
  readonly hostId: number;
  readonly size: number;
}

/** Both empty: nothing is mapped. Plain data, to be sent to Workers. */
export interface IdMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** Ids are the host's. */
export const NO_ID_MAPS: IdMaps = { uids: [], gids: [] };

/** A user and a group. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whether containers have ids of their own. */
export function isMapped({ uids, gids }: IdMaps): boolean {
  return uids.length > 0 || gids.length > 0;
}

/** The owner on the host, undefined where a container's id is none of the host's. */
export function toHost(maps: IdMaps, { uid, gid }: Owner): Owner | undefined {
  return shifted(maps, uid, gid, "containerId", "hostId");
}

/** The inverse of {@link toHost}. */
export function toContainer(maps: IdMaps, { uid, gid }: Owner): Owner | undefined {
  return shifted(maps, uid, gid, "hostId", "containerId");
}

/** Who root of the containers is on the host: the owner of what layers hold unless a tar says otherwise. */
export function rootOwner(maps: IdMaps): Owner {
  return toHost(maps, { uid: 0, gid: 0 }) ?? { uid: 0, gid: 0 };
}

type Side = "containerId" | "hostId";

function shifted(maps: IdMaps, uid: number, gid: number, from: Side, to: Side): Owner | undefined {
  const user = shift(maps.uids, uid, from, to);
  const group = shift(maps.gids, gid, from, to);
  return user === undefined || group === undefined ? undefined : { uid: user, gid: group };
}

function shift(ranges: readonly IdRange[], id: number, from: Side, to: Side): number | undefined {
  if (ranges.length === 0) return id;
  const range = ranges.find((each) => id >= each[from] && id < each[from] + each.size);
  return range === undefined ? undefined : range[to] + id - range[from];
}
