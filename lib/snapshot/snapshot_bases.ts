/**
 * What snapshots of a store are stacked on, and the refusal of what would show nothing where data of a nydus image is.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { type Labels, targetOf } from "./labels.ts";
import { baseOf, type SnapshotBase } from "./snapshot_images.ts";
import type { SnapshotIndex } from "./snapshot_index.ts";
import type { SnapshotPaths } from "./snapshot_paths.ts";

/** The bases of one store's snapshots. */
export class SnapshotBases {
  constructor(private readonly index: Pick<SnapshotIndex, "stackOf">, private readonly paths: SnapshotPaths) {}

  /** Returns what a snapshot on `parent` is stacked on. */
  of(parent: string): SnapshotBase {
    return baseOf(this.index.stackOf(parent), this.paths);
  }

  /** Returns the same if it can be mounted. Without a bootstrap it cannot, except for unpacking the bootstrap itself. */
  mountable(what: string, parent: string, labels: Labels): SnapshotBase {
    return targetOf(labels) === undefined ? this.whole(what, parent) : this.of(parent);
  }

  /**
   * Returns the same.
   *
   * @param what completes "Cannot …" in the error
   * @throws {NydusGdError} "invalid-image" if it has data of a nydus image, and no bootstrap above that
   */
  whole(what: string, parent: string): SnapshotBase {
    const base = this.of(parent);
    if (base.bare === undefined) return base;
    const state = `layer ${base.bare} is data of a nydus image, whose bootstrap is not above it`;
    throw new NydusGdError("invalid-image", `Cannot ${what}: ${state}`, {
      hint: "remove all images that have this layer, and pull again",
    });
  }
}
