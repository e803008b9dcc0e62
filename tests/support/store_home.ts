/**
 * A layer store in a temporary directory, with all its dependencies and full cleanup.
 *
 * @module
 */
import { Applier } from "../../lib/layer/applier.ts";
import { Differ } from "../../lib/layer/differ.ts";
import { LayerStore, type LayerStoreParts } from "../../lib/layer/layer_store.ts";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { unmountAll } from "../../lib/layer/overlay_mount.ts";
import { FolderImages } from "./folder_images.ts";
import { TempDir } from "./temp_dir.ts";

/** Unmounts everything below `folder`, in reverse order of mounting. */
export function unmountBelow(folder: string): void {
  for (const { mountPoint } of mountsBelow(folder).reverse()) unmountAll(mountPoint);
}

/** A scratch directory with a home in it, and a store that can be closed and reopened. */
export class StoreHome implements AsyncDisposable {
  readonly images = new FolderImages();
  readonly applier = new Applier();
  readonly differ = new Differ();
  readonly #temp = TempDir.make();
  #store: LayerStore | undefined;

  private constructor(readonly name: string) {}

  /** @param name name of the home's directory */
  static async make(name = "home"): Promise<StoreHome> {
    const home = new StoreHome(name);
    try {
      await home.reopen();
      return home;
    } catch (error) {
      await home[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Parent of the home, for the test's own files. */
  get scratch(): string {
    return this.#temp.path;
  }

  get path(): string {
    return `${this.scratch}/${this.name}`;
  }

  get store(): LayerStore {
    if (this.#store === undefined) throw new Error("no store is open");
    return this.#store;
  }

  /** Opens the home once more without closing anything. */
  open(parts: Partial<LayerStoreParts> = {}): Promise<LayerStore> {
    const { images: lazyImages, applier, differ } = this;
    return LayerStore.open(this.path, { lazyImages, applier, differ, ...parts });
  }

  /** Reopens the store as after a restart of the process. */
  async reopen(parts: Partial<LayerStoreParts> = {}): Promise<LayerStore> {
    await this.#store?.close();
    this.#store = undefined;
    return this.#store = await this.open(parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store?.close();
    await this.applier[Symbol.asyncDispose]();
    this.differ[Symbol.dispose]();
    unmountBelow(this.scratch);
    this.#temp[Symbol.dispose]();
  }
}
