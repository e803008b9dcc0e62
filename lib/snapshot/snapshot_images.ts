/**
 * What is below a snapshot: folders, and the lazy image below them all, which the snapshot holds.
 *
 * A committed snapshot with a bootstrap stands for the whole merged file system of everything below it. One that stands
 * for data of a nydus image has no files, and is meant to be hidden by a bootstrap: where none does, nothing is mounted,
 * because what is missing would pass for an empty layer.
 *
 * An image is held from the first mount of an active snapshot or a view until that is removed: containerd does not tell
 * when it unmounts.
 *
 * @module
 */
import { readMountinfo } from "../../ffi/mountinfo.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import type { LazyImages, LazyLayer } from "../layer/lazy/lazy_images.ts";
import type { SnapshotPaths } from "./snapshot_paths.ts";
import { idOf, lazyImageOf, type Snapshot } from "./snapshot_record.ts";

/** What a snapshot is stacked on. */
export interface SnapshotBase {
  /** Folders, topmost first, without the image. */
  readonly folders: readonly string[];
  readonly lazy: LazyLayer | undefined;
  /** Name of the topmost snapshot that has no files of its own and is not hidden. */
  readonly bare: string | undefined;
}

/** What is visible of a stack of committed snapshots, topmost first. */
export function baseOf(stack: readonly Snapshot[], paths: SnapshotPaths): SnapshotBase {
  const folders: string[] = [];
  let bare: string | undefined;
  for (const snapshot of stack) {
    const lazy = lazyImageOf(snapshot, paths);
    if (lazy !== undefined) return { folders, lazy, bare };
    if (snapshot.layer?.isBlob) bare ??= snapshot.name;
    folders.push(paths.of(snapshot.number).fs);
    if (snapshot.layer?.opaque) break;
  }
  return { folders, lazy: undefined, bare };
}

/** The images that snapshots hold. */
export class SnapshotImages {
  /** ID of the image's layer, by number of the snapshot. */
  readonly #held = new Map<number, string>();
  /** Mounted snapshots whose image has ended with an earlier process. */
  readonly #stranded = new Set<number>();
  /** Mounted snapshots whose image may have shown zeros in the meantime. */
  readonly #suspect = new Set<number>();

  constructor(private readonly images: LazyImages, private readonly paths: SnapshotPaths) {}

  /** Mounted snapshots that have lost their image. */
  get strandedIds(): string[] {
    return Array.from(this.#stranded, (number) => idOf({ number }));
  }

  /** Mounted snapshots that may have shown zeros. */
  get suspectIds(): string[] {
    return [...this.#suspect].map((number) => idOf({ number }));
  }

  /**
   * Returns the lower folders of a snapshot, topmost first. Mounts the image if there is one.
   *
   * @throws {NydusGdError} "unavailable" and others if it cannot be mounted, never "not-found": to containerd that would
   * mean the snapshot
   */
  async lowersOf({ number }: Pick<Snapshot, "number">, base: SnapshotBase, signal: AbortSignal): Promise<string[]> {
    if (base.lazy === undefined) return [...base.folders];
    const holder = idOf({ number });
    try {
      const { path } = await this.images.acquire(base.lazy, holder, signal);
      this.#held.set(number, base.lazy.id);
      this.#stranded.delete(number); // its next mount has an image
      return [...base.folders, path];
    } catch (error) {
      if (!hasCode(error, "not-found", "exists", "usage")) throw error;
      const { message, hint } = error;
      throw new NydusGdError("unavailable", message, { cause: error, ...(hint === undefined ? {} : { hint }) });
    }
  }

  /**
   * Holds the images that an earlier process has mounted for snapshots, and finds the mounted ones that have lost theirs.
   *
   * @param snapshots active ones and views, with what is below them
   */
  holdAgain(snapshots: readonly (readonly [Snapshot, SnapshotBase])[]): void {
    const uppers = mountedUppers();
    for (const [snapshot, { lazy }] of snapshots) {
      if (lazy === undefined) continue;
      const { number } = snapshot;
      const held = this.images.hold(lazy, idOf(snapshot));
      if (held !== undefined) this.#held.set(number, lazy.id);
      if (held?.isSuspect) this.#suspect.add(number);
      if (held?.continued !== true && uppers.has(this.paths.of(number).fs)) this.#stranded.add(number);
    }
  }

  /** Releases the image of a snapshot, if it holds one. */
  async release({ number }: Pick<Snapshot, "number">): Promise<void> {
    this.#stranded.delete(number);
    this.#suspect.delete(number);
    const layerId = this.#held.get(number);
    if (layerId === undefined) return;
    this.#held.delete(number);
    await this.images.release(layerId, idOf({ number }));
  }
}

/** Upper folders of all overlays that are mounted in this namespace. Paths of snapshots need no escapes. */
export function mountedUppers(): Set<string> {
  const uppers = readMountinfo().filter(({ fsType }) => fsType === "overlay").map(({ superOptions }) =>
    /(?:^|,)upperdir=([^,]*)/.exec(superOptions)?.[1]
  );
  return new Set(uppers.filter((upper) => upper !== undefined));
}
