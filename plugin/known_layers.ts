/**
 * All bootstrap layers that Docker and containerd have, as far as this daemon serves them.
 *
 * @module
 */
import type { LazyLayer } from "../lib/layer/lazy/lazy_images.ts";
import { lazySnapshotsIn } from "../lib/snapshot/lazy_snapshots.ts";
import type { SnapshotStore } from "../lib/snapshot/snapshot_store.ts";
import type { GraphDriver } from "./docker/driver.ts";

/** The layers of one daemon. */
export class KnownLayers {
  driver: GraphDriver | undefined;
  snapshots: SnapshotStore | undefined;
  /** Snapshots of an earlier daemon, which this one does not serve, and so does not change. */
  #unserved: LazyLayer[] | undefined;

  /** @param snapshotsDir folder of the snapshots, if there are any */
  constructor(private readonly snapshotsDir: string) {}

  /** Whether these are all: those of a graph driver that dockerd has not named yet are unknown, and damaged ones. */
  get areAll(): boolean {
    const { driver, snapshots } = this;
    if (snapshots?.isDamaged || (driver?.ready && driver.store.damaged.length > 0)) return false;
    return driver !== undefined && (driver.ready || (snapshots !== undefined && driver.unused));
  }

  /** Returns the layers, each always as the same object. */
  async list(): Promise<LazyLayer[]> {
    const ofContainerd = this.snapshots?.lazyLayers ?? (this.#unserved ??= await lazySnapshotsIn(this.snapshotsDir));
    return [...this.driver?.ready ? this.driver.store.lazyLayers : [], ...ofContainerd];
  }
}
