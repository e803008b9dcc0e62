/**
 * Removes a layer from its home.
 *
 * @module
 */
import { mountsBelow } from "../../../ffi/mountinfo.ts";
import { syncFolder } from "../../base/durable.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { GoneLayers } from "./gone_layers.ts";
import type { HomePaths } from "../record/layer_paths.ts";
import { unmountAllServed } from "../overlay/overlay_mount.ts";

const log = logger("layer");

/**
 * Removes a layer: renames it away durably, then deletes it.
 *
 * @throws {NydusGdError} "busy" if something not mounted by this store is mounted in it
 */
export async function discardLayer(
  home: HomePaths,
  id: string,
  short: string | undefined,
  gone: GoneLayers,
): Promise<void> {
  const { root, merged } = home.layer(id);
  await unmountAllServed(merged);
  refuseForeignMounts(root);
  const away = await gone.takeAway(root, id);
  try {
    if (short !== undefined) await removeLink(home, short);
    await syncFolder(home.home);
  } catch (error) {
    gone.leave(away);
    throw error;
  }
  await gone.delete(away);
}

/** A link that stays is deleted at the next start (recovery/recover_home.ts). */
async function removeLink(home: HomePaths, short: string): Promise<void> {
  try {
    await ignore(Deno.errors.NotFound, Deno.remove(home.shortLink(short)));
  } catch (error) {
    log.warn("link of a layer that is gone stays", { path: home.shortLink(short), reason: messageOf(error) });
  }
}

function refuseForeignMounts(root: string): void {
  const [foreign] = mountsBelow(root);
  if (foreign === undefined) return;
  throw new NydusGdError("busy", `Cannot remove "${root}": ${foreign.fsType} is mounted at "${foreign.mountPoint}"`, {
    hint: `umount "${foreign.mountPoint}"`,
  });
}
