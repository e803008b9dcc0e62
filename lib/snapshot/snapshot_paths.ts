/**
 * Paths of the snapshots' files.
 *
 * ```
 * <root>/snapshotter/snapshots/<number>/fs           the snapshot's own files; the overlay's upperdir or a lowerdir
 *                                      /work         the overlay's workdir; absent for a view
 *                                      /record.json  what it is (snapshot_record.ts)
 *                   /making/<number>                 a snapshot being created; renamed to its place when complete
 *                   /removing/…                      a snapshot being deleted; renamed away first
 *                   /numbers.json                    the numbers that may have been given (snapshot_numbers.ts)
 * ```
 *
 * @module
 */

/** The folder of the snapshots of a daemon. @param root its `--root` */
export function snapshotterDir(root: string): string {
  return `${root}/snapshotter`;
}

/** Absolute paths of one snapshot. */
export interface SnapshotFolder {
  readonly root: string;
  readonly fs: string;
  readonly work: string;
  readonly record: string;
}

function below(root: string): SnapshotFolder {
  return { root, fs: `${root}/fs`, work: `${root}/work`, record: `${root}/record.json` };
}

/** Paths of a store. `dir` is absolute and free of symbolic links. */
export class SnapshotPaths {
  readonly snapshots: string;
  readonly making: string;
  readonly removing: string;
  readonly numbers: string;

  constructor(readonly dir: string) {
    this.snapshots = `${dir}/snapshots`;
    this.making = `${dir}/making`;
    this.removing = `${dir}/removing`;
    this.numbers = `${dir}/numbers.json`;
  }

  /** Paths of a snapshot. */
  of(number: number): SnapshotFolder {
    return below(`${this.snapshots}/${number}`);
  }

  /** Paths of a snapshot while it is being created. */
  staging(number: number): SnapshotFolder {
    return below(`${this.making}/${number}`);
  }
}
