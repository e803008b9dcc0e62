/**
 * Folders of layers that are gone: renamed away first, then deleted.
 *
 * A rename takes no file descriptor, deleting does. What cannot be deleted, for example because this process has none
 * left, is tried again by {@link GoneLayers.deleteRest}, and at the next start (recovery/recover_home.ts).
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { HomePaths } from "../record/layer_paths.ts";
import { removeTree } from "../../base/remove_tree.ts";
import { liftLimit } from "../home/size_limit.ts";

const log = logger("layer");

/** The folders in `.removing` of a home. */
export class GoneLayers {
  /** Those that could not be deleted. */
  readonly #rest = new Set<string>();

  constructor(private readonly home: Pick<HomePaths, "removing">) {}

  /** Renames `root`, the folder of layer `id`, and returns its new path, which is unique. @throws Deno's errors */
  async takeAway(root: string, id: string): Promise<string> {
    const away = `${this.home.removing}/${id}-${crypto.randomUUID()}`;
    await Deno.rename(root, away);
    return away;
  }

  /** Deletes a folder that was taken away; one that cannot be deleted is {@link leave left}. */
  async delete(away: string): Promise<void> {
    try {
      liftLimit(away);
    } catch (error) {
      log.warn("cannot lift the limit of a layer that is gone", { path: away, reason: messageOf(error) });
    }
    try {
      await removeTree(away);
    } catch (error) {
      log.warn("layer that is gone is deleted later", { path: away, reason: messageOf(error) });
      this.leave(away);
    }
  }

  /** Has a folder that was taken away deleted later. */
  leave(away: string): void {
    this.#rest.add(away);
  }

  /** Deletes what was left. */
  async deleteRest(): Promise<void> {
    const rest = [...this.#rest];
    this.#rest.clear(); // no other call deletes the same
    for (const away of rest) {
      try {
        await removeTree(away);
      } catch (error) {
        log.debug("layer that is gone is still there", { path: away, reason: messageOf(error) });
        this.leave(away);
      }
    }
  }
}
