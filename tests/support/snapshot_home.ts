/**
 * A snapshot store in a temporary directory, and containerd's part: mounting, and unpacking layers.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { dirname } from "node:path";
import { mount, MS } from "../../ffi/sys_mount.ts";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { Differ } from "../../lib/layer/differ.ts";
import { unmountAll } from "../../lib/layer/overlay_mount.ts";
import type { Labels } from "../../lib/snapshot/labels.ts";
import type { SnapshotMount } from "../../lib/snapshot/snapshot_mounts.ts";
import { SnapshotStore } from "../../lib/snapshot/snapshot_store.ts";
import { FolderImages } from "./folder_images.ts";
import { unmountBelow } from "./store_home.ts";
import { TempDir } from "./temp_dir.ts";

/** No labels. */
export const PLAIN: Labels = new Map();

/** Mounts a snapshot on `target`, as containerd does. */
export function mountSnapshot(mounts: readonly SnapshotMount[], target: string): void {
  Deno.mkdirSync(target, { recursive: true });
  for (const { type, source, options } of mounts) {
    if (type === "overlay") {
      mount(source, target, type, 0, options.join(","));
      continue;
    }
    mount(source, target, null, MS.BIND | MS.REC);
    if (options.includes("ro")) mount(null, target, null, MS.BIND | MS.REMOUNT | MS.RDONLY);
  }
}

/** A scratch directory with a store that can be reopened. */
export class SnapshotHome implements AsyncDisposable {
  readonly images = new FolderImages();
  readonly #differ = new Differ();
  readonly #temp = TempDir.make();
  #store: SnapshotStore | undefined;

  static async make(): Promise<SnapshotHome> {
    const home = new SnapshotHome();
    try {
      await home.reopen();
      return home;
    } catch (error) {
      await home[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Directory for the test's own files. */
  get scratch(): string {
    return this.#temp.path;
  }

  /** Directory of the store. */
  get dir(): string {
    return `${this.scratch}/snapshotter`;
  }

  get store(): SnapshotStore {
    if (this.#store === undefined) throw new Error("no store is open");
    return this.#store;
  }

  /** Opens the directory without closing anything, as after a kill. */
  async reopen(): Promise<SnapshotStore> {
    return this.#store = await SnapshotStore.open(this.dir, { lazyImages: this.images, differ: this.#differ });
  }

  /** Runs `task` in the mounted snapshot. */
  async inside<T>(mounts: readonly SnapshotMount[], task: (root: string) => T | Promise<T>): Promise<T> {
    const target = `${this.scratch}/mnt-${crypto.randomUUID().slice(0, 8)}`;
    mountSnapshot(mounts, target);
    try {
      return await task(target);
    } finally {
      unmountAll(target);
      await Deno.remove(target);
    }
  }

  /** Commits a layer with these files, by path. */
  async layer(name: string, parent: string, files: Readonly<Record<string, string>>, labels = PLAIN): Promise<void> {
    const key = `extract ${name}`;
    const mounts = await this.store.prepare(key, parent, labels);
    await this.inside(mounts, async (root) => {
      for (const [path, text] of Object.entries(files)) {
        await Deno.mkdir(dirname(`${root}/${path}`), { recursive: true });
        await Deno.writeTextFile(`${root}/${path}`, text);
      }
    });
    await this.store.commit(name, key, labels);
  }

  /** Ends the store; nothing may be mounted any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]();
    this.#differ[Symbol.dispose]();
    const left = mountsBelow(this.scratch).map(({ mountPoint }) => mountPoint);
    unmountBelow(this.scratch);
    this.#temp[Symbol.dispose]();
    deepEqual(left, []);
  }
}
