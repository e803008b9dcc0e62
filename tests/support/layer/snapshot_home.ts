/**
 * A snapshot store in a temporary directory, and containerd's part: mounting, and unpacking layers.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { dirname } from "node:path";
import { mount, MS } from "../../../ffi/sys_mount.ts";
import { unmountAll } from "../../../lib/layer/overlay/overlay_mount.ts";
import type { Labels } from "../../../lib/snapshot/labels.ts";
import type { SnapshotMount } from "../../../lib/snapshot/snapshot_mounts.ts";
import { SnapshotStore } from "../../../lib/snapshot/snapshot_store.ts";
import { ReopenedStore } from "./reopened_store.ts";
import { mountPointsBelow } from "../mount/mount_points.ts";

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
export class SnapshotHome extends ReopenedStore<SnapshotStore> {
  static make(): Promise<SnapshotHome> {
    return ReopenedStore.opened(new SnapshotHome());
  }

  /** Directory of the store. */
  get dir(): string {
    return `${this.scratch}/snapshotter`;
  }

  /** Opens the directory without closing anything, as after a kill. */
  async reopen(): Promise<SnapshotStore> {
    return this.store = await SnapshotStore.open(this.dir, { lazyImages: this.images, differ: this.differ });
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
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    const left = mountPointsBelow(this.scratch);
    await super[Symbol.asyncDispose]();
    deepEqual(left, []);
  }
}
