/**
 * A store of layers or snapshots in a temporary directory, which can be reopened, with what both kinds need.
 *
 * @module
 */
import { Differ } from "../../../lib/layer/diff/differ.ts";
import { FolderImages } from "./folder_images.ts";
import { TempDir } from "../temp_dir.ts";
import { unmountBelow } from "../mount/unmount_below.ts";

/** A scratch directory with a store. Disposing ends the store, and unmounts and removes everything. */
export abstract class ReopenedStore<Store extends AsyncDisposable> implements AsyncDisposable {
  readonly images = new FolderImages();
  readonly differ = new Differ();
  readonly #temp = TempDir.make();
  #store: Store | undefined;

  /** Opens the store for the first time. On failure nothing is left. */
  protected static async opened<Home extends ReopenedStore<AsyncDisposable>>(home: Home): Promise<Home> {
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

  get store(): Store {
    if (this.#store === undefined) throw new Error("no store is open");
    return this.#store;
  }

  protected set store(store: Store) {
    this.#store = store;
  }

  /** Opens the store anew. */
  abstract reopen(): Promise<Store>;

  protected async close(): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]();
    this.#store = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    this.differ[Symbol.dispose]();
    unmountBelow(this.scratch);
    this.#temp[Symbol.dispose]();
  }
}
