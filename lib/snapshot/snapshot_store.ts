/**
 * Snapshots on disk: the operations of a containerd snapshotter, without its protocol.
 *
 * ```ts
 * await using store = await SnapshotStore.open("/var/lib/nydus-gd/snapshotter", { lazyImages, differ });
 * const mounts = await store.prepare("extract-1 sha256:…", "", labels);   // somebody mounts it and unpacks a layer
 * await store.commit("sha256:…", "extract-1 sha256:…", labels);
 * await store.prepare("container", "sha256:…", new Map());                // overlay on top of it
 * await store.remove("container");
 * ```
 *
 * Every change is on disk before the call returns, and the process may be killed at any point (snapshot_files.ts).
 * Changes run one after the other; what takes long (mounting an image, counting and syncing files) does not hold them up.
 *
 * Errors are {@link NydusGdError}: "not-found", "exists", "usage" for a parent that cannot be one, "unsupported" for what
 * cannot be asked of a snapshot of that kind, "busy" for one that others are stacked on, "invalid-image" for a damaged
 * bootstrap, "corrupt"; errors of the kernel are SyscallErrors.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { realTime } from "../../ffi/time.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import { KeyedMutex } from "../base/keyed_mutex.ts";
import { logger } from "../base/log.ts";
import { StoppableTasks } from "../base/stoppable_tasks.ts";
import type { Differ } from "../layer/diff/differ.ts";
import { syncFileSystem } from "../base/durable.ts";
import { probeHomeUnlessFull } from "../layer/home/home_probe.ts";
import { layerWarnings } from "../layer/layer_warnings.ts";
import type { LazyImages, LazyLayer } from "../layer/lazy/lazy_images.ts";
import { clientName, isNydusBlob, type Labels, labelsOf, recordedLabels, targetOf, updateLabels } from "./labels.ts";
import { recogniseSnapshot } from "./recognise_snapshot.ts";
import { SnapshotBases } from "./snapshot_bases.ts";
import { type DamagedSnapshot, snapshotProblems } from "./snapshot_damage.ts";
import { numbersInUse, SnapshotFiles } from "./snapshot_files.ts";
import { parseFilters } from "./snapshot_filter.ts";
import { mountedUppers, type SnapshotBase, SnapshotImages } from "./snapshot_images.ts";
import { SnapshotIndex, unfit } from "./snapshot_index.ts";
import { requirePlainPath, type SnapshotMount, snapshotMounts } from "./snapshot_mounts.ts";
import { SnapshotNumbers } from "./snapshot_numbers.ts";
import { SnapshotPaths } from "./snapshot_paths.ts";
import { idOf, lazyImageOf, type Snapshot, type SnapshotUsage } from "./snapshot_record.ts";

const log = logger("snapshot");

/** Dependencies of a store. */
export interface SnapshotStoreParts {
  /** After its images of an earlier process have been taken over. */
  readonly lazyImages: LazyImages;
  readonly differ: Pick<Differ, "usage">;
}

/** What a store is made of. */
interface Inside extends SnapshotStoreParts {
  readonly paths: SnapshotPaths;
  readonly files: SnapshotFiles;
  /** As found when the store was opened. */
  readonly damaged: readonly DamagedSnapshot[];
  readonly index: SnapshotIndex;
  readonly numbers: SnapshotNumbers;
  readonly bases: SnapshotBases;
}

const NO_USAGE: SnapshotUsage = { bytes: 0, inodes: 0 };

/** The snapshots of one folder. */
export class SnapshotStore implements AsyncDisposable {
  readonly #inside: Inside;
  readonly #images: SnapshotImages;
  readonly #lazyLayers = new WeakMap<Snapshot, LazyLayer>();
  /** Name under which clients know the snapshotter, since the first that has made a snapshot; see {@link admit}. */
  #client: string | undefined;
  /** Held by every change of index and files. */
  readonly #changing = new KeyedMutex<"store">();
  readonly #tasks = new StoppableTasks();

  private constructor(inside: Inside) {
    this.#inside = inside;
    this.#images = new SnapshotImages(inside.lazyImages, inside.paths);
    this.#client = inside.index.all().find(({ client }) => client !== undefined)?.client;
    this.#images.holdAgain(inside.index.all().flatMap((snapshot) => this.#mountable(snapshot)));
  }

  /** The snapshot and its base, if others may have mounted it. */
  #mountable(snapshot: Snapshot): [Snapshot, SnapshotBase][] {
    if (snapshot.kind === "committed") return [];
    try {
      return [[snapshot, this.#inside.bases.of(snapshot.parent)]];
    } catch (error) {
      if (!hasCode(error, "corrupt")) throw error;
      log.error("snapshot cannot be used", { name: snapshot.name, reason: error.message });
      return [];
    }
  }

  /**
   * Opens the snapshots in `dir`, creating it if needed, and recovers from a crash. Only one process may do so.
   *
   * @param dir absolute path of a folder used only for snapshots
   * @throws {NydusGdError} "environment" if its file system cannot hold layers, "usage" for a path that overlays cannot
   * be told, "corrupt"
   */
  static async open(dir: string, parts: SnapshotStoreParts): Promise<SnapshotStore> {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
    const paths = new SnapshotPaths(await Deno.realPath(dir));
    requirePlainPath(paths.dir);
    await probeHomeUnlessFull(paths.dir, `${paths.dir}/probe`);
    const files = new SnapshotFiles(paths);
    const { snapshots, damaged } = await files.recover();
    const numbers = await SnapshotNumbers.open(paths.numbers, await numbersInUse(paths));
    log.info("snapshots opened", { dir: paths.dir, snapshots: snapshots.length });
    const index = new SnapshotIndex(snapshots);
    const bases = new SnapshotBases(index, paths);
    return new SnapshotStore({ ...parts, paths, files, damaged, index, numbers, bases });
  }

  /** Absolute path of the folder, without symbolic links. */
  get dir(): string {
    return this.#inside.paths.dir;
  }

  /** Number of snapshots. */
  get count(): number {
    return this.#inside.index.count;
  }

  /**
   * The name of the snapshot with this id, as its client knows it: usually the id of a container. Undefined if there is
   * none.
   */
  nameOf(id: string): string | undefined {
    const name = this.#inside.index.all().find((snapshot) => idOf(snapshot) === id)?.name;
    return name === undefined ? undefined : clientName(name);
  }

  /** The snapshots that hold the bootstrap of a lazy image, each always the same object as long as it is unchanged. */
  get lazyLayers(): LazyLayer[] {
    return this.#inside.index.all().map((snapshot) => this.#lazyLayerOf(snapshot)).filter((lazy) => lazy !== undefined);
  }

  #lazyLayerOf(snapshot: Snapshot): LazyLayer | undefined {
    const known = this.#lazyLayers.get(snapshot) ?? lazyImageOf(snapshot, this.#inside.paths);
    if (known !== undefined) this.#lazyLayers.set(snapshot, known);
    return known;
  }

  /** Whether there are snapshots of which nothing is known. */
  get isDamaged(): boolean {
    return this.#damaged.length > 0;
  }

  /** Those that were damaged when the store was opened, and are still there. */
  get #damaged(): DamagedSnapshot[] {
    const { damaged, paths } = this.#inside;
    return damaged.filter(({ number }) => existsSync(paths.of(number).root));
  }

  /** Problems of mounted snapshots (see {@link layerWarnings}), and of damaged ones. */
  get warnings(): string[] {
    const { paths, index } = this.#inside;
    const found = { snapshots: index.all(), damaged: this.#damaged };
    const problems = snapshotProblems(found, paths, mountedUppers());
    return [...layerWarnings(this.#images), ...problems.map(({ message, remedy }) => `${message}; ${remedy}`)];
  }

  /**
   * Refuses a client that knows the snapshotter under another name than the one that made the snapshots. containerd has a
   * list of snapshots for each name, and deletes what its snapshotter has beyond that: all that were made under the other
   * name, under running containers.
   *
   * @param creates whether a snapshot is about to be made
   * @throws {NydusGdError} "config"
   */
  admit(client: string, { creates }: { readonly creates: boolean }): void {
    if (this.#client === undefined && creates) this.#client = client;
    if (this.#client === undefined || this.#client === client) return;
    const state = `its socket is that of the snapshotter ${this.#client}, whose snapshots would be deleted`;
    throw new NydusGdError("config", `Cannot be the snapshotter ${client}: ${state}`, {
      hint:
        `keep one table of proxy_plugins for this socket in containerd's configuration; to change the name, remove all ` +
        `containers and images of ${this.#client}, and restart nydus-gd`,
    });
  }

  /**
   * Creates a writable snapshot on `parent` ("" for none) and returns how to mount it. On failure nothing is left.
   *
   * A layer that is data of a nydus image needs no files: it is committed at once, under its target.
   *
   * @throws {NydusGdError} "exists" also for such a layer: nothing has to be fetched or unpacked
   */
  prepare(key: string, parent: string, labels: Labels, signal?: AbortSignal): Promise<SnapshotMount[]> {
    return this.#tasks.run(async (signal) => {
      const target = targetOf(labels);
      if (target === undefined || !isNydusBlob(labels)) {
        return await this.#create("active", key, parent, labels, signal);
      }
      await this.#standIn(target, parent, labels);
      throw new NydusGdError(
        "exists",
        `Cannot prepare snapshot ${JSON.stringify(key)}: ${target} is data of a nydus image`,
      );
    }, signal);
  }

  /** Creates a read-only snapshot that shows `parent`, and returns how to mount it. */
  view(key: string, parent: string, labels: Labels, signal?: AbortSignal): Promise<SnapshotMount[]> {
    return this.#tasks.run((signal) => this.#create("view", key, parent, labels, signal), signal);
  }

  /** Returns how to mount a writable or read-only snapshot. */
  mounts(key: string, signal?: AbortSignal): Promise<SnapshotMount[]> {
    return this.#tasks.run(async (signal) => {
      const what = "mount snapshot";
      const snapshot = this.#inside.index.get(key, what);
      if (snapshot.kind === "committed") throw unfit(what, snapshot, "unsupported");
      const { kind, number } = snapshot;
      const base = this.#inside.bases.mountable(what, snapshot.parent, labelsOf(snapshot));
      const mounts = await this.#mountsOf(kind, number, base, signal);
      if (this.#inside.index.isStill(snapshot)) return mounts;
      await this.#images.release(snapshot); // removed or committed meanwhile, which released what was held by then
      throw new NydusGdError("not-found", `Cannot ${what} ${JSON.stringify(key)}: it is gone`);
    }, signal);
  }

  /**
   * Finishes a writable snapshot under a new name. Its files are on disk then, and are not to be changed any more.
   *
   * @throws {NydusGdError} "invalid-image" and others if it has the form of a bootstrap layer but cannot be one; it
   * stays as it is
   */
  commit(name: string, key: string, labels: Labels, signal?: AbortSignal): Promise<void> {
    return this.#tasks.run(async (signal) => {
      const active = this.#inside.index.committable(name, key);
      const { fs } = this.#inside.paths.of(active.number);
      const usage = await this.#inside.differ.usage(fs, signal);
      const layer = await recogniseSnapshot(active, name, labels, this.#inside);
      await syncFileSystem(fs);
      const committed = await this.#change(async () => {
        if (this.#inside.index.committable(name, key) !== active) throw unfit("commit snapshot", active, "unsupported");
        const now = realTime();
        const times = { created: now, updated: now };
        const after: Snapshot = {
          ...active,
          ...times,
          name,
          kind: "committed",
          labels: recordedLabels(labels),
          usage,
          layer,
        };
        await this.#inside.files.write(after);
        this.#inside.index.replace(active, after);
        return after;
      });
      await this.#images.release(active);
      const lazy = lazyImageOf(committed, this.#inside.paths);
      log.debug("snapshot committed", { name, number: active.number, lazy: lazy !== undefined });
      if (lazy !== undefined) this.#inside.lazyImages.prepare(lazy);
    }, signal);
  }

  /** Deletes a snapshot. @throws {NydusGdError} "busy" if others are stacked on it */
  remove(key: string): Promise<void> {
    return this.#tasks.run(async () => {
      const { index, files, lazyImages } = this.#inside;
      const deleteFiles = await this.#change(async () => {
        const what = "remove snapshot";
        const snapshot = index.get(key, what);
        if (index.hasChildren(key)) {
          throw new NydusGdError("busy", `Cannot ${what} ${JSON.stringify(key)}: others are stacked on it`);
        }
        const lazy = this.#lazyLayerOf(snapshot);
        if (lazy !== undefined) await lazyImages.forget(lazy.id, lazy);
        const deleteFiles = await files.takeAway(snapshot);
        index.remove(snapshot);
        await this.#images.release(snapshot);
        return deleteFiles;
      });
      await deleteFiles();
    });
  }

  /** Describes a snapshot. */
  stat(name: string): Snapshot {
    return this.#inside.index.get(name, "describe snapshot");
  }

  /** Changes labels; see {@link updateLabels}. Returns the changed snapshot. */
  update(name: string, labels: Labels, fields: readonly string[]): Promise<Snapshot> {
    return this.#tasks.run(() =>
      this.#change(async () => {
        const before = this.#inside.index.get(name, "update snapshot");
        const changed = recordedLabels(updateLabels(labelsOf(before), labels, fields));
        const after = { ...before, labels: changed, updated: realTime() };
        await this.#inside.files.write(after);
        this.#inside.index.replace(before, after);
        return after;
      })
    );
  }

  /** All snapshots that match one of the filters (snapshot_filter.ts); without filters, all. */
  list(filters: readonly string[]): Snapshot[] {
    return this.#inside.index.all().filter(parseFilters(filters));
  }

  /** The space that a snapshot's own files take. Those of a view are its parent's. */
  usage(name: string, signal?: AbortSignal): Promise<SnapshotUsage> {
    return this.#tasks.run(async (signal) => {
      const { kind, number, usage } = this.#inside.index.get(name, "measure snapshot");
      if (kind !== "active") return usage ?? NO_USAGE;
      return await this.#inside.differ.usage(this.#inside.paths.of(number).fs, signal);
    }, signal);
  }

  /** Tries again to delete what could not be deleted. */
  cleanup(): Promise<void> {
    return this.#tasks.run(() => this.#inside.files.deleteRest());
  }

  /** Cancels what can be cancelled and waits for the rest. Images stay held by those who have mounted them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tasks.stop(new NydusGdError("interrupted", "Cannot continue: the snapshots are being closed"));
  }

  async #create(
    kind: "active" | "view",
    key: string,
    parent: string,
    labels: Labels,
    signal: AbortSignal,
  ): Promise<SnapshotMount[]> {
    const what = `create snapshot ${JSON.stringify(key)}`;
    this.#inside.index.creatable(what, key, parent);
    const base = this.#inside.bases.mountable(what, parent, labels);
    const number = await this.#inside.numbers.take();
    try {
      const mounts = await this.#mountsOf(kind, number, base, signal);
      await this.#add(what, { ...this.#record(key, parent, labels), kind, number });
      return mounts;
    } catch (error) {
      await this.#images.release({ number });
      throw error;
    }
  }

  /** Commits an empty snapshot for a layer that is data of a nydus image, unless it is there. */
  async #standIn(target: string, parent: string, labels: Labels): Promise<void> {
    const what = `create snapshot ${JSON.stringify(target)}`;
    this.#inside.index.creatable(what, target, parent);
    const number = await this.#inside.numbers.take();
    const layer = { opaque: false, isBlob: true };
    await this.#add(what, {
      ...this.#record(target, parent, labels),
      kind: "committed",
      number,
      usage: NO_USAGE,
      layer,
    });
  }

  async #add(what: string, snapshot: Snapshot): Promise<void> {
    await this.#change(async () => {
      const { index, files } = this.#inside;
      await files.make(snapshot, index.creatable(what, snapshot.name, snapshot.parent));
      index.add(snapshot);
    });
    log.debug("snapshot created", { name: snapshot.name, number: snapshot.number, kind: snapshot.kind });
  }

  async #mountsOf(
    kind: "active" | "view",
    number: number,
    base: SnapshotBase,
    signal: AbortSignal,
  ): Promise<SnapshotMount[]> {
    const lowers = await this.#images.lowersOf({ number }, base, signal);
    return snapshotMounts(kind, this.#inside.paths.of(number), lowers);
  }

  /** What the records of all kinds have, for a new snapshot. */
  #record(name: string, parent: string, labels: Labels) {
    const now = realTime();
    const client = this.#client === undefined ? {} : { client: this.#client };
    return { version: 1, ...client, name, parent, labels: recordedLabels(labels), created: now, updated: now } as const;
  }

  #change<T>(task: () => Promise<T>): Promise<T> {
    return this.#changing.run("store", task);
  }
}
