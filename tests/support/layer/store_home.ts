/**
 * A layer store in a temporary directory, with all its dependencies and full cleanup.
 *
 * @module
 */
import { deepEqual } from "node:assert/strict";
import { Applier } from "../../../lib/layer/apply/applier.ts";
import { NO_ID_MAPS } from "../../../lib/layer/userns/id_maps.ts";
import { LayerStore, type LayerStoreParts } from "../../../lib/layer/layer_store.ts";
import { UNBORN_AFTER_MS } from "../../../lib/layer/remove/unborn_layers.ts";
import { ReopenedStore } from "./reopened_store.ts";
import { rootTest } from "../root_test.ts";
import { mountPointsBelow } from "../mount/mount_points.ts";

/** What a store has where no dockerd has recorded anything, and nothing is mapped or limited. */
export const WITHOUT_DOCKER = {
  idMaps: NO_ID_MAPS,
  limitBytes: 0,
  unbornAfterMs: UNBORN_AFTER_MS,
  dockerRecords: {
    layers: () => Promise.resolve(undefined),
    layer: () => Promise.resolve(undefined),
    parents: () => Promise.resolve(new Map()),
  },
} as const;

/** A scratch directory with a home in it, and a store that can be closed and reopened. */
export class StoreHome extends ReopenedStore<LayerStore> {
  readonly applier = new Applier();

  private constructor(readonly name: string) {
    super();
  }

  /** @param name name of the home's directory */
  static make(name = "home"): Promise<StoreHome> {
    return ReopenedStore.opened(new StoreHome(name));
  }

  get path(): string {
    return `${this.scratch}/${this.name}`;
  }

  /** Opens the home once more without closing anything. */
  open(parts: Partial<LayerStoreParts> = {}): Promise<LayerStore> {
    const { images: lazyImages, applier, differ } = this;
    return LayerStore.open(this.path, { ...WITHOUT_DOCKER, lazyImages, applier, differ, ...parts });
  }

  /** Reopens the store as after a restart of the process. */
  async reopen(parts: Partial<LayerStoreParts> = {}): Promise<LayerStore> {
    await this.close();
    return this.store = await this.open(parts);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.applier[Symbol.asyncDispose]();
    await super[Symbol.asyncDispose]();
  }
}

/** Defines a test with a home of its own, in which no mount may be left. @param homeName name of its directory */
export function storeTest(name: string, fn: (home: StoreHome) => Promise<void>, homeName?: string): void {
  rootTest(name, async () => {
    await using home = await StoreHome.make(homeName);
    await fn(home);
    deepEqual(mountPointsBelow(home.scratch), []);
  });
}
