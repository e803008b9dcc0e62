/**
 * Layers on disk: the operations of a graph driver, without its protocol.
 *
 * ```ts
 * const store = await LayerStore.open("/var/lib/docker/nydus-gd", { lazyImages, applier, differ });
 * await store.create("base");
 * await store.applyDiff("base", tar, signal);
 * await store.createReadWrite("box", { parent: "base" });
 * const root = await store.get("box"); // "/var/lib/docker/nydus-gd/box/merged"
 * await store.put("box");
 * ```
 *
 * Laid out like overlay2 (layer_paths.ts). Every change is on disk before the call returns, and the process may be
 * killed at any point: {@link LayerStore.open} recovers from disk and mountinfo (recovery.ts). Calls for one layer run
 * one after the other, calls for different layers in parallel; a remove cancels an apply in progress.
 *
 * Errors are {@link NydusGdError}: "usage" for an invalid id, "not-found", "exists", "busy", "unsupported", "corrupt",
 * "invalid-image"; errors of the kernel are SyscallErrors.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import type { FileLock } from "../base/file_lock.ts";
import { KeyedMutex } from "../base/keyed_mutex.ts";
import { logger } from "../base/log.ts";
import { RunningTasks } from "../base/running_tasks.ts";
import { VERSION } from "../base/version.ts";
import { GoneLayers } from "./gone_layers.ts";
import { lockFile } from "./home_lock.ts";
import { backingFileSystem, probeHomeUnlessFull } from "./home_probe.ts";
import { type IdMaps, isMapped, NO_ID_MAPS } from "./id_maps.ts";
import { foundationOf, type Layer, layerExists, lazyImageOf, loadLayer, requireWhole } from "./layer.ts";
import type { Change } from "./changes.ts";
import { type LayerDiffer, LayerDiffs } from "./layer_diffs.ts";
import { LayerMounts } from "./layer_mounts.ts";
import { layerWarnings } from "./layer_warnings.ts";
import { HomePaths } from "./layer_paths.ts";
import { type LazyImages, type LazyLayer, refuseLazyImages } from "./lazy_images.ts";
import { lazyLayersIn } from "./lazy_layers.ts";
import { commitLayer, isEmpty, isInitLayer, makeLayer, openToNamespace, requireSameEmptyLayer } from "./make_layer.ts";
import { discardLayer, recoverHome } from "./recovery.ts";
import { requireSizeLimits } from "./size_limit.ts";
import { sizeLimitOf } from "./storage_options.ts";
import { UNBORN_AFTER_MS, UnbornLayers } from "./unborn_layers.ts";
import { removeUnrecorded } from "./unrecorded_layers.ts";
import { type LayerApplier, unpackLayer } from "./unpack_layer.ts";

const log = logger("layer");

/** Refusal reason with user namespaces: all containers that read an image would share one id mapping. */
const REMAPPED = "lazy images do not work with user namespaces (userns-remap)";
const REMAPPED_HINT = "use an ordinary image, or remove userns-remap from /etc/docker/daemon.json";

/** Row of {@link LayerStore.status} specific to this driver. */
export const LAYERS_MOUNTED = "Layers mounted";

/** Dependencies and options of a store. */
export interface LayerStoreParts {
  readonly lazyImages: LazyImages;
  readonly applier: LayerApplier;
  readonly differ: LayerDiffer;
  /** Of the containers' user namespace; absent: ids are the host's. */
  readonly idMaps?: IdMaps;
  /** Default limit for the data that a container may write, in bytes; absent or 0: no limit. */
  readonly limitBytes?: number;
  /** Milliseconds after which dockerd has forgotten a layer of a container that it has not made. */
  readonly unbornAfterMs?: number;
  /** Ids of the layers that dockerd has recorded; undefined if it has no records. Default: none are known of. */
  readonly recordedIds?: () => Promise<ReadonlySet<string> | undefined>;
}

/** Options for creating a layer. */
export interface CreateOptions {
  /** The layer below; absent or empty for none. */
  readonly parent?: string;
  /** `--storage-opt` of docker create, by key; see storage_options.ts. */
  readonly storageOptions?: Readonly<Record<string, string>>;
}

/** The layers of one home folder. */
export class LayerStore implements AsyncDisposable {
  readonly #paths: HomePaths;
  readonly #parts: Required<LayerStoreParts>;
  readonly #lock: FileLock;
  readonly #mounts: LayerMounts;
  readonly #diffs: LayerDiffs;
  readonly #locks = new KeyedMutex<string>();
  readonly #unborn: UnbornLayers;
  readonly #gone: GoneLayers;
  /** Running and waiting applies by layer, to be cancelled by a remove. */
  readonly #applying = new Map<string, Set<AbortController>>();
  readonly #running = new RunningTasks();
  readonly #stop = new AbortController();

  private constructor(paths: HomePaths, lock: FileLock, parts: Required<LayerStoreParts>) {
    this.#paths = paths;
    this.#parts = parts;
    this.#lock = lock;
    this.#mounts = new LayerMounts(paths, parts.lazyImages);
    this.#diffs = new LayerDiffs(paths, parts.lazyImages, parts.differ, parts.idMaps);
    this.#gone = new GoneLayers(paths);
    this.#unborn = new UnbornLayers(paths, (id) => this.#removeUnborn(id), parts.unbornAfterMs);
  }

  /**
   * Opens the layers in `home`, creating it if needed, and recovers from a crash.
   *
   * @param home absolute path of a folder used only for layers
   * @throws {NydusGdError} "usage" for a home that is not a dedicated folder, "busy" while another store uses it,
   * "environment" if its file system cannot hold layers
   */
  static async open(home: string, parts: LayerStoreParts): Promise<LayerStore> {
    if (!home.startsWith("/") || /^\/*$/.test(home)) {
      throw new NydusGdError("usage", `Cannot open home ${JSON.stringify(home)}: not an absolute path of a folder`);
    }
    await Deno.mkdir(home, { recursive: true, mode: 0o700 });
    const paths = new HomePaths(await Deno.realPath(home));
    const lock = lockFile(paths.lock, `home "${paths.home}"`);
    try {
      await probeHomeUnlessFull(paths.home, `${paths.making}/.probe`);
      const { idMaps = NO_ID_MAPS, limitBytes = 0, unbornAfterMs = UNBORN_AFTER_MS } = parts;
      const { recordedIds = () => Promise.resolve(undefined) } = parts;
      if (limitBytes > 0) requireSizeLimits(paths.home, "limit containers");
      await openToNamespace(paths.home, idMaps);
      const lazyImages = isMapped(idMaps) ? refuseLazyImages(REMAPPED, REMAPPED_HINT) : parts.lazyImages;
      const whole = { ...parts, lazyImages, idMaps, limitBytes, unbornAfterMs, recordedIds };
      const store = new LayerStore(paths, lock, whole);
      await store.#recover();
      return store;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** Absolute path of the home, without symbolic links. */
  get home(): string {
    return this.#paths.home;
  }

  /** Number of mounted layers, as far as this process knows. */
  get mountedCount(): number {
    return this.#mounts.mountedCount;
  }

  /** Problems of mounted layers; see {@link layerWarnings}. */
  get warnings(): string[] {
    return layerWarnings(this.#mounts);
  }

  /**
   * To be called when a dockerd has started and not served any client yet. Resets every mount to one reference, as
   * after a restart of this process, because dockerd will not release what its predecessor requested. Removes layers
   * that dockerd does not know: of containers that were never created, and of pulls that a crash of dockerd ended.
   */
  async beginAnew(): Promise<void> {
    await this.#mounts.recount();
    await this.#unborn.removeAll();
    await removeUnrecorded(this.#paths, this.#parts.recordedIds, (id) => this.remove(id));
  }

  async #recover(): Promise<void> {
    const { layerCount, mounted } = await recoverHome(this.#paths);
    await Promise.all(mounted.map(async (layer) => {
      try {
        await this.#mounts.adopt(layer);
      } catch (error) {
        log.error("mounted layer has lost its lazy image", { layer: layer.id, reason: messageOf(error) });
      }
    }));
    this.#unborn.watch();
    log.info("layers opened", { home: this.home, layers: layerCount, mounted: mounted.length });
  }

  /** Creates an empty layer. The parent becomes read-only. On failure nothing is left. */
  create(id: string, options: CreateOptions = {}): Promise<void> {
    return this.#exclusive(id, async () => {
      const what = `create layer ${id}`;
      if (sizeLimitOf(options.storageOptions ?? {}, what) !== undefined) {
        throw new NydusGdError("usage", `Cannot ${what}: it is an image's, and only containers have a size`);
      }
      await this.#make(id, options, 0);
    });
  }

  /** Like {@link create}, for the layer that a container writes to, which may have a limit. */
  createReadWrite(id: string, options: CreateOptions = {}): Promise<void> {
    return this.#exclusive(id, async () => {
      const what = `create layer ${id}`;
      const limitBytes = sizeLimitOf(options.storageOptions ?? {}, what) ?? this.#parts.limitBytes;
      if (limitBytes > 0) requireSizeLimits(this.home, what);
      await this.#make(id, options, isInitLayer(id) ? 0 : limitBytes);
    });
  }

  async #make(id: string, { parent: wanted }: CreateOptions, limitBytes: number): Promise<void> {
    const parentId = wanted || undefined;
    if (await layerExists(this.#paths, id)) return await requireSameEmptyLayer(this.#paths, id, parentId);
    const parent = parentId === undefined ? undefined : await this.#commit(parentId, id);
    await this.#gone.deleteRest();
    await makeLayer(this.#paths, id, parent, { idMaps: this.#parts.idMaps, limitBytes, gone: this.#gone });
  }

  /**
   * Returns the absolute path of the layer's files, mounted over those below, until a matching number of {@link put}s.
   * A bootstrap layer shows its own files, not the image, because it must be exported unchanged. So does a layer above
   * it that came as a tar.
   *
   * @param label SELinux label for the files; empty for none
   */
  get(id: string, label = "", signal?: AbortSignal): Promise<string> {
    return this.#exclusive(id, async () => {
      const layer = await loadLayer(this.#paths, id);
      requireWhole(layer, "be mounted");
      try {
        return await this.#mounts.get(layer, label, this.#until(signal));
      } catch (error) {
        await this.#dropUnborn(layer);
        throw error;
      }
    }, signal);
  }

  /** Removes the init layer if it cannot be mounted: its container is never created, and dockerd does not remove it. */
  async #dropUnborn(layer: Layer): Promise<void> {
    if (!isInitLayer(layer.id) || layer.readOnly || !await isEmpty(layer.paths.diff)) return;
    log.debug("layer of a container that is not made is removed", { layer: layer.id });
    try {
      await discardLayer(this.#paths, layer.id, layer.short, this.#gone);
    } catch (error) {
      log.warn("layer of a container that is not made stays for now", { layer: layer.id, reason: messageOf(error) });
    }
  }

  /** Releases one {@link get}; the last one unmounts, even while in use. Missing or unmounted layers are no error. */
  put(id: string): Promise<void> {
    return this.#exclusive(id, async () => {
      if (await layerExists(this.#paths, id)) await this.#mounts.put(id);
    });
  }

  /** Deletes the layer, mounted or not, and cancels an apply in progress. A missing layer is no error. */
  remove(id: string): Promise<void> {
    for (const apply of this.#applying.get(id) ?? []) {
      apply.abort(new NydusGdError("interrupted", `Cannot apply to layer ${id}: it is being removed`));
    }
    return this.#exclusive(id, () => this.#discard(id));
  }

  #removeUnborn(id: string): Promise<void> {
    return this.#exclusive(id, async () => {
      if (this.#unborn.isForgotten(id)) await this.#discard(id);
    });
  }

  async #discard(id: string): Promise<void> {
    if (!await layerExists(this.#paths, id)) return;
    const layer = await this.#loadForRemoval(id);
    await this.#mounts.unmount(id);
    const lazy = layer && lazyImageOf(layer, this.#paths);
    if (layer === undefined || lazy !== undefined) await this.#parts.lazyImages.forget(id, lazy);
    await discardLayer(this.#paths, id, layer?.short, this.#gone);
    await this.#gone.deleteRest();
  }

  /** The bootstrap layers. */
  lazyLayers(): Promise<LazyLayer[]> {
    return lazyLayersIn(this.home);
  }

  /** Whether the layer exists. */
  exists(id: string): Promise<boolean> {
    return layerExists(this.#paths, id);
  }

  /** Metadata for `docker inspect`: the folders as in overlay2, and details of the lazy image below. */
  async metadata(id: string): Promise<Record<string, string>> {
    const layer = await loadLayer(this.#paths, id);
    const { diffs, lazy } = await foundationOf(this.#paths, layer);
    const { paths } = layer;
    const image = lazyImageOf(layer, this.#paths) ?? lazy;
    const isOverlay = diffs.length > 0 || lazy !== undefined;
    return {
      ...(isOverlay ? { LowerDir: diffs.join(":"), MergedDir: paths.merged, WorkDir: paths.work } : {}),
      UpperDir: paths.diff,
      ...(image === undefined ? {} : await this.#parts.lazyImages.describe(image)),
    };
  }

  /**
   * Unpacks an uncompressed tar into the layer, once only.
   *
   * @returns bytes of the files, the layer's size in Docker
   * @throws {NydusGdError} "exists" after an earlier apply, "invalid-image" for an invalid tar
   */
  async applyDiff(id: string, body: ReadableStream<Uint8Array>, signal?: AbortSignal): Promise<number> {
    const abort = new AbortController();
    const ends = AbortSignal.any([abort.signal, this.#until(signal)]);
    const running = this.#applying.get(id) ?? new Set();
    this.#applying.set(id, running.add(abort));
    try {
      return await this.#exclusive(id, async () => {
        const layer = await loadLayer(this.#paths, id);
        const { applier, lazyImages, idMaps } = this.#parts;
        const finished = await unpackLayer(layer, body, applier, { lazyImages, idMaps, signal: ends });
        const lazy = lazyImageOf({ ...layer, finished }, this.#paths);
        if (lazy !== undefined) lazyImages.prepare(lazy);
        return finished.sizeBytes ?? 0;
      }, ends);
    } finally {
      running.delete(abort);
      if (running.size === 0) this.#applying.delete(id);
    }
  }

  /**
   * Returns what the layer has and `parent` has not, as a tar; without a parent, the whole tree. For a bootstrap layer
   * always its own files. The stream must be read to its end or cancelled.
   */
  diff(id: string, parent = "", signal?: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    return this.#diffs.tar(id, parent, this.#until(signal));
  }

  /** The same as a list of paths. */
  changes(id: string, parent = "", signal?: AbortSignal): Promise<Change[]> {
    return this.#diffs.changes(id, parent, this.#until(signal));
  }

  /** Bytes of the files that the layer has and `parent` has not. */
  diffSize(id: string, parent = "", signal?: AbortSignal): Promise<number> {
    return this.#diffs.sizeBytes(id, parent, this.#until(signal));
  }

  /** Unmounts every layer regardless of reference counts. Layers are kept. */
  async cleanup(): Promise<void> {
    const ids = new Set([...this.#mounts.knownIds(), ...this.#mounts.mountedIds()]);
    await Promise.all([...ids].map((id) => this.#exclusive(id, () => this.#mounts.unmount(id))));
  }

  /** Rows for `docker info`. */
  async status(): Promise<[string, string][]> {
    return [
      ["Version", VERSION],
      ["Kernel", Deno.osRelease()],
      ["Backing Filesystem", backingFileSystem(this.home)],
      ["Supports d_type", "true"],
      ["Native Overlay Diff", "true"],
      [LAYERS_MOUNTED, String(this.#mounts.mountedCount)],
      ...await this.#parts.lazyImages.status(),
      ...this.warnings.map((warning): [string, string] => ["Warning", warning]),
    ];
  }

  /** Cancels what can be cancelled, waits for the rest and releases the home. Mounts are kept. */
  async close(): Promise<void> {
    this.#unborn[Symbol.dispose]();
    this.#stop.abort(new NydusGdError("interrupted", "Cannot continue: the layers are being closed"));
    await this.#running.settled();
    this.#lock[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs `task` with exclusive access to its layer, after checking the id. */
  #exclusive<T>(id: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const run = async () => {
      throwIfAborted(this.#stop.signal);
      this.#paths.layer(id);
      return await this.#locks.run(id, () => task().finally(() => this.#unborn.named(id)), signal);
    };
    return this.#running.add(run());
  }

  #until(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, signal]);
  }

  /**
   * Loads the parent and makes it read-only. Its lock nests inside the child's; no deadlock, since a new layer is
   * nobody's parent.
   */
  #commit(parent: string, child: string): Promise<Layer> {
    if (parent === child) throw new NydusGdError("not-found", `Cannot create layer ${child}: it is its own parent`);
    return this.#exclusive(parent, () => commitLayer(this.#paths, parent, this.#parts.lazyImages));
  }

  async #loadForRemoval(id: string): Promise<Layer | undefined> {
    try {
      return await loadLayer(this.#paths, id);
    } catch (error) {
      log.warn("damaged layer is removed", { layer: id, reason: messageOf(error) });
      return undefined;
    }
  }
}
