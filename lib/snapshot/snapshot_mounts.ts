/**
 * The mounts of a snapshot, which containerd makes: as those of its own overlayfs snapshotter.
 *
 * | snapshot | lower folders | mount |
 * |---|---|---|
 * | active | none | bind of its own folder |
 * | active | some | overlay, its own folder on top of them |
 * | view | none | bind of its own, empty folder, read-only |
 * | view | one | bind of that folder, read-only |
 * | view | several | overlay of them |
 *
 * containerd shortens the paths of a long lowerdir by their common beginning and mounts from there, since the options
 * must fit a page: so the folders of snapshots and images have short names and one root. It cannot shorten escaped
 * paths.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { isPlainOverlayValue, overlayFeatures } from "../layer/overlay/overlay_options.ts";
import type { SnapshotFolder } from "./snapshot_paths.ts";

/** A mount in containerd's form. */
export interface SnapshotMount {
  readonly type: "bind" | "overlay";
  readonly source: string;
  /** As in fstab. */
  readonly options: readonly string[];
}

/** Refuses a folder whose path has characters that overlay options give a meaning. @throws {NydusGdError} "usage" */
export function requirePlainPath(dir: string): void {
  if (isPlainOverlayValue(dir)) return;
  throw new NydusGdError("usage", `Cannot keep snapshots in "${dir}": its path is long, or has a comma, colon or \\`, {
    hint: "give serve another --root",
  });
}

/** @param lowers folders below the snapshot, topmost first */
export function snapshotMounts(
  kind: "active" | "view",
  own: Pick<SnapshotFolder, "fs" | "work">,
  lowers: readonly string[],
): SnapshotMount[] {
  const [first, ...others] = lowers;
  if (kind === "active") return [first === undefined ? bind(own.fs, "rw") : overlay(lowers, own)];
  return [others.length === 0 ? bind(first ?? own.fs, "ro") : overlay(lowers)];
}

function bind(source: string, access: "rw" | "ro"): SnapshotMount {
  return { type: "bind", source, options: [access, "rbind"] };
}

/**
 * BuildKit takes a layer from the upper folder only if it knows all options (util/overlay), and otherwise compares whole
 * trees. It does not know metacopy, which the kernel switches off by itself where redirects are switched off by name.
 */
function overlay(lowers: readonly string[], upper?: Pick<SnapshotFolder, "fs" | "work">): SnapshotMount {
  const options = overlayFeatures().filter(([key]) => key !== "metacopy").map(([key, value]) => `${key}=${value}`);
  if (upper !== undefined) options.push(`workdir=${upper.work}`, `upperdir=${upper.fs}`);
  return { type: "overlay", source: "overlay", options: [...options, `lowerdir=${lowers.join(":")}`] };
}
