/**
 * The images that a server has mounted, and those that are unmounted but still in use.
 *
 * ```
 *          add                    unmount                           closed
 * opened ──────► mounted: found by its layer ──────► in use: not found ──────► gone
 *                  └── lose: the session has ended ────────┘
 * ```
 *
 * @module
 */
import { KeyedMutex } from "../../../base/keyed_mutex.ts";
import { logger } from "../../../base/log.ts";
import type { ImageMounts } from "../../../mount/image_mounts.ts";
import type { LiveImage } from "./live_image.ts";
import type { MountRecord } from "../records/mount_record.ts";

const log = logger("image");

/** Mounted images, by the ID of their layer. */
export class LiveImages {
  readonly #mounted = new Map<string, LiveImage>();
  /** Images that are not closed, mounted or not. */
  readonly #open = new Set<LiveImage>();
  readonly #changing = new KeyedMutex<string>();

  /** @param record of the mounted images, for a successor */
  constructor(private readonly record: MountRecord) {}

  /** Runs `task` while no other task changes whether the layer's image is mounted. Not re-entrant. */
  runExclusive<T>(layerId: string, task: () => Promise<T>): Promise<T> {
    return this.#changing.run(layerId, task);
  }

  /** Returns all mounted images. */
  all(): LiveImage[] {
    return [...this.#mounted.values()];
  }

  /** Returns the mounted image of a layer. */
  get(layerId: string): LiveImage | undefined {
    return this.#mounted.get(layerId);
  }

  /** Returns the image if its mount is visible: an overlay on an empty folder would show an empty image. */
  seen(layerId: string): LiveImage | undefined {
    const mounted = this.#mounted.get(layerId);
    if (mounted === undefined || mounted.mount.isSeen()) return mounted;
    log.warn("mount of image is gone", { layer: layerId, path: mounted.mount.path });
    return undefined;
  }

  /**
   * Adds an image that has just been mounted.
   *
   * @throws {Error} if it cannot be recorded; it is unmounted then, since a successor would not know it
   */
  async add(mounted: LiveImage): Promise<void> {
    this.#holdUntilClosed(mounted);
    try {
      await this.record.add(mounted.layer, mounted.facts);
    } catch (error) {
      await mounted.unmount();
      throw error;
    }
    this.#mounted.set(mounted.layer.id, mounted);
  }

  /** Adds an image of an earlier process, which is in the record. */
  addContinued(mounted: LiveImage): void {
    this.#holdUntilClosed(mounted);
    this.#mounted.set(mounted.layer.id, mounted);
  }

  #holdUntilClosed(mounted: LiveImage): void {
    this.#open.add(mounted);
    mounted.closed.then(() => this.#open.delete(mounted));
  }

  /** Drops the images of a session that has ended, so that they are mounted again. Returns how many there were. */
  lose(session: ImageMounts): number {
    const lost = this.all().filter((mounted) => mounted.session === session);
    for (const { layer } of lost) this.#mounted.delete(layer.id);
    return lost.length;
  }

  /** Unmounts the image of a layer, if it is mounted, and removes it from the record. Use {@link runExclusive}. */
  async unmount(layerId: string): Promise<void> {
    const mounted = this.#mounted.get(layerId);
    if (mounted === undefined) return;
    this.#mounted.delete(layerId);
    await mounted.unmount();
    await this.record.remove(layerId);
  }

  /** Unmounts all images, one after the other. */
  async unmountAll(): Promise<void> {
    for (const { layer: { id } } of this.all()) await this.runExclusive(id, () => this.unmount(id));
  }

  /** Leaves the mounts and their record to a successor. Resolves when no prefetch is running. */
  async leave(): Promise<void> {
    const left = this.all();
    this.#mounted.clear();
    await Promise.all(left.map((mounted) => mounted.stopPrefetch()));
  }

  /** Resolves when every image is closed. */
  async closed(): Promise<void> {
    await Promise.all(Array.from(this.#open, ({ closed }) => closed));
  }
}
