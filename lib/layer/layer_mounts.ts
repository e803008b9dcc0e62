/**
 * The overlay mounts of layers, with reference counts and the lazy images they hold.
 *
 * mountinfo is authoritative for what is mounted; a count only tells how many Puts a mount outlives. After a restart
 * every mount found gets a count of one, as in dockerd's own drivers. Callers hold the layer's lock.
 *
 * @module
 */
import { ignore } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type ImageBelow, imageBelow, isMountedStill } from "./lazy/image_below.ts";
import type { ImageView, ImageViews } from "./lazy/image_views.ts";
import { foundationOf, type Layer } from "./record/layer.ts";
import type { HomePaths } from "./record/layer_paths.ts";
import type { LazyImages, LazyLayer } from "./lazy/lazy_images.ts";
import { mountedLayerIds } from "./record/lazy_layers.ts";
import { mountIdAt } from "../../ffi/mountinfo.ts";
import { mountOverlay, unmountAllOffThread, unmountAllServed } from "./overlay/overlay_mount.ts";
import { effectiveLabel } from "./overlay/overlay_options.ts";

const log = logger("layer");

/** Mounts and unmounts the layers of one home. */
export class LayerMounts {
  /** References by layer id; no entry if not mounted, as far as this process knows. */
  readonly #counts = new Map<string, number>();
  /** Id of the lazy layer held, by holder. */
  readonly #held = new Map<string, string>();
  /** What mounts by this process were stacked on, by holder, as far as it can be told. */
  readonly #below = new Map<string, ImageBelow>();
  /** Adopted mounts over a lazy image that ended with its process: what was below them is gone. */
  readonly #stranded = new Set<string>();
  /** Adopted mounts over a lazy image that may have shown zeros in the meantime. */
  readonly #suspect = new Set<string>();

  constructor(
    private readonly home: HomePaths,
    private readonly lazyImages: LazyImages,
    private readonly views: ImageViews,
  ) {}

  /** Number of counted mounts. */
  get mountedCount(): number {
    return this.#counts.size;
  }

  /** Layers whose image was served by an earlier process: data not read yet is out of their reach. */
  get strandedIds(): string[] {
    return [...this.#stranded];
  }

  /** Layers whose image may have shown zeros while all processes that guarded it were dead. */
  get suspectIds(): string[] {
    return [...this.#suspect];
  }

  /**
   * Adds a reference to the layer and returns the absolute path of its root.
   *
   * A layer with nothing below it is its own diff folder and is not counted, because nothing is mounted. The same holds
   * for a layer that came as a tar and lies on a lazy image: dockerd requests it only to export that tar again (save,
   * push), which must not depend on access to the image's blobs.
   */
  async get(layer: Layer, mountLabel: string, signal: AbortSignal): Promise<string> {
    const { id, paths } = layer;
    if (mountIdAt(paths.merged) !== undefined) {
      this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
      return paths.merged;
    }
    this.#counts.delete(id);
    const { diffs, lazy } = await foundationOf(this.home, layer);
    const isAlone = diffs.length === 0 && lazy === undefined;
    if (isAlone || (lazy !== undefined && layer.apply.kind === "done")) return paths.diff;
    const started = performance.now();
    const label = effectiveLabel(mountLabel);
    const lowers = [...diffs];
    try {
      using view = lazy === undefined ? undefined : await this.#viewOf(lazy, id, signal);
      if (view !== undefined) lowers.push(view.path);
      await ignore(Deno.errors.AlreadyExists, Deno.mkdir(paths.merged, { mode: 0o700 }));
      mountOverlay(
        layer.readOnly
          ? { lowers: [paths.diff, ...lowers], label }
          : { lowers, upper: { diff: paths.diff, work: paths.work }, label },
        paths.merged,
      );
    } catch (error) {
      await this.#releaseImage(id);
      throw error;
    }
    this.#counts.set(id, 1);
    const durationMs = Math.round(performance.now() - started);
    log.debug("layer mounted", { layer: id, layers: lowers.length, lazy: lazy?.id, durationMs });
    return paths.merged;
  }

  /** Acquires a lazy image for `holder`. */
  async #viewOf(lazy: LazyLayer, holder: string, signal: AbortSignal): Promise<ImageView> {
    this.#held.set(holder, lazy.id);
    const mounted = await this.lazyImages.acquire(lazy, holder, signal);
    const below = imageBelow(mounted);
    if (below !== undefined) this.#below.set(holder, below);
    return await this.views.place(mounted.path, this.home.viewPlace(holder));
  }

  /** Drops a reference; the last one unmounts. A layer that is not mounted is no error. */
  async put(id: string): Promise<void> {
    const count = this.#counts.get(id) ?? 0;
    if (count > 1) this.#counts.set(id, count - 1);
    else await this.unmount(id);
  }

  /**
   * Unmounts the layer regardless of its count. Programs that use it keep their files until they close them.
   *
   * Also removes the mount point, which ends copies of the mount in other mount namespaces.
   */
  async unmount(id: string): Promise<void> {
    const { merged } = this.home.layer(id);
    if (this.#mayEndImage(id)) await unmountAllServed(merged);
    else await unmountAllOffThread(merged);
    this.#counts.delete(id);
    this.#stranded.delete(id);
    this.#suspect.delete(id);
    try {
      await Deno.remove(merged);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        log.debug("mount point not removed", { layer: id, reason: String(error) });
      }
    }
    await this.#releaseImage(id);
  }

  /** Whether the layer may be the last user of its image. */
  #mayEndImage(id: string): boolean {
    const below = this.#below.get(id);
    return this.#held.has(id) && !(below !== undefined && isMountedStill(below));
  }

  /** Counts a mount made by an earlier process once, and acquires its lazy image again. */
  async adopt(layer: Layer): Promise<void> {
    this.#counts.set(layer.id, 1);
    const { lazy } = await foundationOf(this.home, layer);
    if (lazy === undefined) return;
    this.#stranded.add(layer.id);
    this.#held.set(layer.id, lazy.id);
    const { continued, isSuspect } = await this.lazyImages.acquire(lazy, layer.id);
    if (continued) this.#stranded.delete(layer.id);
    if (isSuspect) this.#suspect.add(layer.id);
  }

  /** Resets the count of every mount to one; images that no mount needs are released. */
  async recount(): Promise<void> {
    const mounted = new Set(this.mountedIds());
    this.#counts.clear();
    for (const id of mounted) this.#counts.set(id, 1);
    const released = [...this.#held.keys()].filter((holder) => !mounted.has(holder));
    await Promise.all(released.map((holder) => this.#releaseImage(holder)));
  }

  /** Ids of mounted layers, whoever mounted them. */
  mountedIds(): string[] {
    return mountedLayerIds(this.home.home);
  }

  /** Ids that are counted or hold an image. */
  knownIds(): string[] {
    return [...new Set([...this.#counts.keys(), ...this.#held.keys()])];
  }

  async #releaseImage(holder: string): Promise<void> {
    const lazyId = this.#held.get(holder);
    if (lazyId === undefined) return;
    this.#held.delete(holder);
    this.#below.delete(holder);
    await this.lazyImages.release(lazyId, holder);
  }
}
