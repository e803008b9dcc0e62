/**
 * Snapshots that were found damaged or lost, described for users: which they are, what cannot be used without them, and
 * what to do.
 *
 * A record that cannot be read leaves its snapshot without a name and a parent. Nothing is made of it, since a guess could
 * show wrong files, and its folder stays, since it may hold the only copy of what a container wrote.
 *
 * @module
 */
import type { SnapshotPaths } from "./snapshot_paths.ts";
import type { Snapshot } from "./snapshot_record.ts";

/** A snapshot whose record cannot be read. */
export interface DamagedSnapshot {
  readonly number: number;
  /** With the path of the record. */
  readonly reason: string;
}

/** All snapshots of a folder. */
export interface FoundSnapshots {
  readonly snapshots: readonly Snapshot[];
  readonly damaged: readonly DamagedSnapshot[];
}

/** A problem. Both are parts of sentences. */
export interface SnapshotProblem {
  readonly message: string;
  readonly remedy: string;
}

/** Names that a message lists. */
const SHOWN_NAMES = 5;

/**
 * One problem for each snapshot that is damaged, and for each that others are stacked on and that is not there; one for
 * all that are mounted and not there.
 *
 * @param uppers upper folders of all overlays that are mounted
 */
export function snapshotProblems(
  { snapshots, damaged }: FoundSnapshots,
  paths: SnapshotPaths,
  uppers: ReadonlySet<string>,
): SnapshotProblem[] {
  const names = new Set(snapshots.map(({ name }) => name));
  const orphans = snapshots.filter(({ parent }) => parent !== "" && !names.has(parent));
  return [
    ...damaged.map(({ number, reason }) => ({
      message: `snapshot ${number} is damaged: ${reason}`,
      remedy: `save what you need of ${paths.of(number).fs}, then delete ${paths.of(number).root}`,
    })),
    ...Array.from(Map.groupBy(orphans, ({ parent }) => parent), ([parent, children]) => ({
      message: `snapshot ${JSON.stringify(parent)} is gone, without which these cannot be used: ${listOf(children)}`,
      remedy: "remove the containers and images that have them, and pull again",
    })),
    ...lostProblems({ snapshots, damaged }, paths, uppers),
  ];
}

/** containerd unmounts a snapshot before it removes it: one that is mounted and gone was deleted behind its back. */
function lostProblems(
  { snapshots, damaged }: FoundSnapshots,
  paths: SnapshotPaths,
  uppers: ReadonlySet<string>,
): SnapshotProblem[] {
  const known = new Set([...snapshots, ...damaged].map(({ number }) => paths.of(number).fs));
  const lost = [...uppers].filter((upper) => upper.startsWith(`${paths.snapshots}/`) && !known.has(upper));
  if (lost.length === 0) return [];
  return [{
    message: `containers run on snapshots that are gone, and may lack files: ${shownOf(lost)}`,
    remedy: "save what these containers have written, then remove them and all images, and pull again",
  }];
}

function listOf(snapshots: readonly Snapshot[]): string {
  return shownOf(snapshots.map(({ name }) => JSON.stringify(name)));
}

function shownOf(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_NAMES).join(", ");
  return names.length > SHOWN_NAMES ? `${shown} and ${names.length - SHOWN_NAMES} more` : shown;
}
