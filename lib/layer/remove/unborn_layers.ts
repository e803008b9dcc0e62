/**
 * Removes layers of containers that were never created.
 *
 * dockerd creates two layers for a container, `<id>-init` and on top of it `<id>`. If it cannot continue after the
 * first (for example because this program was killed), it forgets that layer without removing or releasing it. Between
 * its calls for the first layer dockerd only fills a few files in, so a layer that no call has named for a while and
 * that has no counterpart is orphaned. Source: initMount and CreateRWLayer of moby's layer/layer_store.go, 20.10 to 26.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { layerExists } from "../record/layer.ts";
import type { HomePaths } from "../record/layer_paths.ts";

const log = logger("layer");

/** Docker's own ids only: other clients may put anything on a layer with such a name. */
const INIT_LAYER = /^([0-9a-f]{64})-init$/;

/**
 * Milliseconds without a call after which a layer is forgotten. dockerd repeats a call that failed for 15 s, and what it
 * repeats has no body, so that the container fails.
 */
export const UNBORN_AFTER_MS = 60_000;

/** The first layers of containers in a home, and which of them are orphaned. */
export class UnbornLayers implements Disposable {
  /** Layers without a container when they were last looked for, except those that a call has named since. */
  #silent = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  /**
   * @param remove removes the layer unless a call that it has waited for makes {@link isForgotten} false
   * @param afterMs see {@link UNBORN_AFTER_MS}
   */
  constructor(
    private readonly home: HomePaths,
    private readonly remove: (id: string) => Promise<void>,
    private readonly afterMs: number,
  ) {}

  /** To be called at the end of every call that names a layer. */
  named(id: string): void {
    this.#silent.delete(id);
    if (INIT_LAYER.test(id)) this.watch();
  }

  /** Looks for such layers from now on, as long as there are any. */
  watch(): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    this.#timer = setTimeout(() => this.#removeForgotten(), this.afterMs);
    Deno.unrefTimer(this.#timer);
  }

  /** Whether no call has named the layer since it was found without a container. */
  isForgotten(id: string): boolean {
    return this.#silent.has(id);
  }

  /** Removes all of them at once. Valid only while no container is being created. */
  async removeAll(): Promise<void> {
    const unborn = await this.#find();
    this.#silent = new Set(unborn);
    await this.#removeEach(unborn);
  }

  /** Stops looking. */
  [Symbol.dispose](): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #removeForgotten(): Promise<void> {
    try {
      const unborn = await this.#find();
      const forgotten = unborn.filter((id) => this.#silent.has(id));
      this.#silent = new Set(unborn);
      await this.#removeEach(forgotten);
      this.#timer = undefined;
      if (unborn.length > 0) this.watch();
    } catch (error) {
      log.warn("layers of containers that were not made are not looked for", { reason: messageOf(error) });
      this.#timer = undefined;
      this.watch();
    }
  }

  async #find(): Promise<string[]> {
    const unborn: string[] = [];
    for (const { name } of [...Deno.readDirSync(this.home.home)]) {
      const container = INIT_LAYER.exec(name)?.[1];
      if (container !== undefined && !await layerExists(this.home, container)) unborn.push(name);
    }
    return unborn;
  }

  async #removeEach(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      if (this.#isStopped) return;
      try {
        await this.remove(id);
        log.info("layer of a container that was not made is removed", { layer: id });
      } catch (error) {
        log.warn("layer of a container that was not made stays", { layer: id, reason: messageOf(error) });
      }
    }
  }
}
