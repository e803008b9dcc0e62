/**
 * Layers on disk: the operations of a graph driver, without its protocol.
 *
 * ```ts
 * const store = await LayerStore.open("/var/lib/docker/nydus-gd", parts);
 * await store.create("base");
 * await store.applyDiff("base", tar);
 * await store.createReadWrite("box", { parent: "base" });
 * const root = await store.get("box"); // "/var/lib/docker/nydus-gd/box/merged"
 * await store.put("box");
 * ```
 *
 * Laid out like overlay2 (record/layer_paths.ts). Every change is on disk before the call returns, and the process may be
 * killed at any point: {@link LayerStore.open} recovers from disk and mountinfo (recovery/recover_home.ts). Calls for one layer run
 * one after the other, calls for different layers in parallel; a remove cancels an apply in progress.
 *
 * Errors are {@link NydusGdError}: "usage" for an invalid id, "not-found", "exists", "busy", "unsupported", "corrupt",
 * "invalid-image"; errors of the kernel are SyscallErrors.
 *
 * The store knows how its calls are ordered, and what it consists of. The calls are in parts of their own:
 *
 * | part           | what it does                                                |
 * | -------------- | ----------------------------------------------------------- |
 * | `LayerWriter`  | makes layers, and fills them                                |
 * | `LayerMounts`  | mounts them, and counts who uses a mount                    |
 * | `LayerDiffs`   | compares two layers                                         |
 * | `LayerRemover` | removes layers, also those that dockerd has forgotten       |
 * | `LayerCalls`   | one call at a time for each layer; cancels them at the end  |
 *
 * @module
 */
import { existsSync } from "node:fs";
import { messageOf, NydusGdError } from "../base/errors.ts";
import type { FileLock } from "../base/file_lock.ts";
import { logger } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import type { Change } from "./diff/changes.ts";
import { GoneLayers } from "./remove/gone_layers.ts";
import { lockFile } from "../base/server_lock.ts";
import { backingFileSystem, probeHomeUnlessFull } from "./home/home_probe.ts";
import { ImageViews } from "./lazy/image_views.ts";
import { foundationOf, layerExists, lazyImageOf, loadLayer, requireWhole } from "./record/layer.ts";
import { LayerCalls } from "./layer_calls.ts";
import { type DamagedLayer, layerProblems } from "./record/layer_damage.ts";
import { LayerDiffs } from "./layer_diffs.ts";
import { LayerMounts } from "./layer_mounts.ts";
import { HomePaths } from "./record/layer_paths.ts";
import { LayerRemover } from "./layer_remover.ts";
import type { LayerStoreParts, StoreInside } from "./layer_store_parts.ts";
import { layerWarnings } from "./layer_warnings.ts";
import { type CreateOptions, LayerWriter } from "./layer_writer.ts";
import type { LazyLayer } from "./lazy/lazy_images.ts";
import { KnownLazyLayers } from "./known_lazy_layers.ts";
import { openToNamespace } from "./userns/open_to_namespace.ts";
import { recoverHome } from "./recovery/recover_home.ts";
import { requireSizeLimits } from "./home/size_limit.ts";

export type { LayerStoreParts } from "./layer_store_parts.ts";

const log = logger("layer");

/** Row of {@link LayerStore.status} specific to this driver. */
export const LAYERS_MOUNTED = "Layers mounted";

/** The layers of one home folder. */
export class LayerStore implements AsyncDisposable {
  readonly #inside: StoreInside;
  readonly #writer: LayerWriter;
  readonly #remover: LayerRemover;
  readonly #diffs: LayerDiffs;
  /** As found when the store was opened. */
  #damaged: readonly DamagedLayer[] = [];

  private constructor(paths: HomePaths, private readonly lock: FileLock, parts: LayerStoreParts) {
    const { lazyImages, idMaps } = parts;
    const calls = new LayerCalls((id) => this.#remover.named(id));
    const views = new ImageViews(lazyImages, idMaps);
    const mounts = new LayerMounts(paths, lazyImages, views);
    const [gone, lazyLayers] = [new GoneLayers(paths), new KnownLazyLayers(paths)];
    this.#inside = { ...parts, paths, views, calls, mounts, gone, lazyLayers };
    this.#writer = new LayerWriter(this.#inside);
    this.#remover = new LayerRemover(this.#inside, (id) => this.#writer.cancelApplies(id));
    this.#diffs = new LayerDiffs(this.#inside);
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
      if (parts.limitBytes > 0) requireSizeLimits(paths.home, "limit containers");
      await openToNamespace(paths.home, parts.idMaps);
      const store = new LayerStore(paths, lock, parts);
      await store.#recover();
      return store;
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
  }

  /** Absolute path of the home, without symbolic links. */
  get home(): string {
    return this.#inside.paths.home;
  }

  /** Number of mounted layers, as far as this process knows. */
  get mountedCount(): number {
    return this.#inside.mounts.mountedCount;
  }

  /** Layers that could not be used when the store was opened, and are still there. */
  get damaged(): DamagedLayer[] {
    return this.#damaged.filter(({ id }) => existsSync(this.#inside.paths.layer(id).root));
  }

  /** Problems of mounted layers (see {@link layerWarnings}), and of damaged ones. */
  get warnings(): string[] {
    const { mounts, paths } = this.#inside;
    const problems = layerProblems(this.damaged, paths);
    return [...layerWarnings(mounts), ...problems.map(({ message, remedy }) => `${message}; ${remedy}`)];
  }

  /**
   * To be called when a dockerd has started and not served any client yet. Resets every mount to one reference, as
   * after a restart of this process, because dockerd will not release what its predecessor requested. Removes layers
   * that dockerd does not know: of containers that were never created, and of pulls that a crash of dockerd ended.
   */
  async beginAnew(): Promise<void> {
    await this.#inside.mounts.recount();
    await this.#remover.removeForgotten();
  }

  async #recover(): Promise<void> {
    const { paths, views, mounts, gone, lazyLayers, dockerRecords } = this.#inside;
    const { layers, mounted, damaged } = await recoverHome(paths, { dockerRecords, images: views }, gone);
    this.#damaged = damaged;
    for (const layer of layers) lazyLayers.add(layer);
    await Promise.all(mounted.map(async (layer) => {
      try {
        await mounts.adopt(layer);
      } catch (error) {
        log.error("mounted layer has lost its lazy image", { layer: layer.id, reason: messageOf(error) });
      }
    }));
    this.#remover.watch();
    log.info("layers opened", { home: this.home, layers: layers.length, mounted: mounted.length });
  }

  /** Creates an empty layer. The parent becomes read-only. On failure nothing is left. */
  create(id: string, options: CreateOptions = {}): Promise<void> {
    return this.#writer.create(id, options);
  }

  /** Like {@link create}, for the layer that a container writes to, which may have a limit. */
  createReadWrite(id: string, options: CreateOptions): Promise<void> {
    return this.#writer.createReadWrite(id, options);
  }

  /**
   * Returns the absolute path of the layer's files, mounted over those below, until a matching number of {@link put}s.
   * A bootstrap layer shows its own files, not the image, because it must be exported unchanged. So does a layer above
   * it that came as a tar.
   *
   * @param label SELinux label for the files; empty for none
   */
  get(id: string, label = ""): Promise<string> {
    const { calls, mounts, paths } = this.#inside;
    return calls.exclusive(id, async () => {
      const layer = await loadLayer(paths, id);
      requireWhole(layer, "be mounted");
      try {
        return await mounts.get(layer, label, calls.stopSignal);
      } catch (error) {
        await this.#remover.dropUnborn(layer);
        throw error;
      }
    });
  }

  /** Releases one {@link get}; the last one unmounts, even while in use. Missing or unmounted layers are no error. */
  put(id: string): Promise<void> {
    const { calls, mounts, paths } = this.#inside;
    return calls.exclusive(id, async () => {
      if (await layerExists(paths, id)) await mounts.put(id);
    });
  }

  /** Deletes the layer, mounted or not, and cancels an apply in progress. A missing layer is no error. */
  remove(id: string): Promise<void> {
    return this.#remover.remove(id);
  }

  /** The complete bootstrap layers, each always the same object. */
  get lazyLayers(): LazyLayer[] {
    return this.#inside.lazyLayers.list();
  }

  /** Whether the layer exists. */
  exists(id: string): Promise<boolean> {
    return layerExists(this.#inside.paths, id);
  }

  /** Metadata for `docker inspect`: the folders as in overlay2, and details of the lazy image below. */
  async metadata(id: string): Promise<Record<string, string>> {
    const { paths: home, lazyImages } = this.#inside;
    const layer = await loadLayer(home, id);
    const { diffs, lazy } = await foundationOf(home, layer);
    const { paths } = layer;
    const image = lazyImageOf(layer, home) ?? lazy;
    const isOverlay = diffs.length > 0 || lazy !== undefined;
    return {
      ...(isOverlay ? { LowerDir: diffs.join(":"), MergedDir: paths.merged, WorkDir: paths.work } : {}),
      UpperDir: paths.diff,
      ...(image === undefined ? {} : await lazyImages.describe(image)),
    };
  }

  /**
   * Unpacks an uncompressed tar into the layer, once only.
   *
   * @returns bytes of the files, the layer's size in Docker
   * @throws {NydusGdError} "exists" after an earlier apply, "invalid-image" for an invalid tar
   */
  applyDiff(id: string, body: ReadableStream<Uint8Array>): Promise<number> {
    return this.#writer.apply(id, body);
  }

  /**
   * Returns what the layer has and `parent` has not, as a tar; without a parent, the whole tree. For a bootstrap layer
   * always its own files. The stream must be read to its end or cancelled.
   */
  diff(id: string, parent = ""): Promise<ReadableStream<Uint8Array>> {
    return this.#diffs.tar(id, parent, this.#inside.calls.stopSignal);
  }

  /** The same as a list of paths. */
  changes(id: string, parent: string): Promise<Change[]> {
    return this.#diffs.changes(id, parent, this.#inside.calls.stopSignal);
  }

  /** Bytes of the files that the layer has and `parent` has not. */
  diffSize(id: string, parent: string): Promise<number> {
    return this.#diffs.sizeBytes(id, parent, this.#inside.calls.stopSignal);
  }

  /** Unmounts every layer regardless of reference counts. Layers are kept. */
  async cleanup(): Promise<void> {
    const { calls, mounts } = this.#inside;
    const ids = new Set([...mounts.knownIds(), ...mounts.mountedIds()]);
    await Promise.all([...ids].map((id) => calls.exclusive(id, () => mounts.unmount(id))));
  }

  /** Rows for `docker info`. */
  async status(): Promise<[string, string][]> {
    return [
      ["Version", VERSION],
      ["Kernel", Deno.osRelease()],
      ["Backing Filesystem", backingFileSystem(this.home)],
      ["Supports d_type", "true"],
      ["Native Overlay Diff", "true"],
      [LAYERS_MOUNTED, String(this.#inside.mounts.mountedCount)],
      ...await this.#inside.lazyImages.status(),
      ...this.warnings.map((warning): [string, string] => ["Warning", warning]),
    ];
  }

  /** Cancels what can be cancelled, waits for the rest and releases the home. Mounts are kept. */
  async close(): Promise<void> {
    this.#remover[Symbol.dispose]();
    await this.#inside.calls.stop(new NydusGdError("interrupted", "Cannot continue: the layers are being closed"));
    await this.#inside.views[Symbol.asyncDispose]();
    this.lock[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
