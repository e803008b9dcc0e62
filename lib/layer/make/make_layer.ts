/**
 * Creates layers, and finishes those that others are stacked on.
 *
 * A layer is assembled in `.making` and renamed to its place once all of it is on disk: a visible layer is always
 * complete, and recovery cleans up after a crash.
 *
 * @module
 */
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { GoneLayers } from "../remove/gone_layers.ts";
import { syncFileSystem, syncFolder, writeDurably } from "../../base/durable.ts";
import { type IdMaps, type Owner, rootOwner } from "../userns/id_maps.ts";
import { isEmpty, type Layer, loadLayer, parentOf, requireWhole } from "../record/layer.ts";
import { lowerOn } from "../record/layer_damage.ts";
import { formatLower, type HomePaths, linkTarget, newShortName } from "../record/layer_paths.ts";
import { isInitLayer } from "../record/layer_id.ts";
import { writeFinished } from "../record/layer_record.ts";
import { openToNamespace } from "../userns/open_to_namespace.ts";
import { type BootstrapVerifier, recogniseLayer } from "../record/recognise_layer.ts";
import { removeTree } from "../../base/remove_tree.ts";
import { limitFolders } from "../home/size_limit.ts";

/** Permission bits of a layer's root if there is nothing below. */
const ROOT_MODE = 0o755;

/** How a layer is made. */
export interface LayerMaking {
  readonly idMaps: IdMaps;
  /** Maximum data that may be written to it, in bytes; 0: no limit. */
  readonly limitBytes: number;
  /** Deletes what is left of a failure. */
  readonly gone: GoneLayers;
}

/**
 * Creates an empty layer on `parent`, durably. On failure nothing is left.
 *
 * The root gets the permissions and owner of the root below it, because the root of an overlay is that of its topmost
 * layer.
 */
export async function makeLayer(
  home: HomePaths,
  id: string,
  parent: Layer | undefined,
  { idMaps, limitBytes, gone }: LayerMaking,
): Promise<void> {
  const staging = home.staging(id);
  const short = newShortName();
  let place = staging.root;
  await removeTree(staging.root);
  try {
    await Deno.mkdir(staging.root, { recursive: true, mode: 0o700 });
    await openToNamespace(staging.root, idMaps);
    await Deno.mkdir(staging.diff, { mode: 0o755 });
    const root = await rootAttributes(parent, idMaps);
    await Deno.chown(staging.diff, root.uid, root.gid);
    await Deno.chmod(staging.diff, root.mode);
    if (parent !== undefined) {
      await Deno.mkdir(staging.work, { mode: 0o700 });
      await Deno.mkdir(staging.merged, { mode: 0o700 });
      await writeDurably(staging.lower, formatLower(lowerOn(parent)));
    }
    if (limitBytes > 0) limitFolders([staging.diff, ...(parent === undefined ? [] : [staging.work])], limitBytes);
    await writeDurably(staging.link, short);
    await Deno.symlink(linkTarget(id), home.shortLink(short));
    await Promise.all([syncFolder(home.links), syncFolder(staging.root)]);
    await Deno.rename(staging.root, home.layer(id).root);
    place = home.layer(id).root;
    await syncFolder(home.home);
  } catch (error) {
    await clearAway(home, { id, short, place }, gone);
    throw error;
  }
}

/** Takes away what was made of a layer. Needs no file descriptor: there may be none. */
async function clearAway(
  home: HomePaths,
  { id, short, place }: { readonly id: string; readonly short: string; readonly place: string },
  gone: GoneLayers,
): Promise<void> {
  try {
    await ignore(Deno.errors.NotFound, Deno.remove(home.shortLink(short)));
    const away = await ignore(Deno.errors.NotFound, gone.takeAway(place, id));
    if (away !== undefined) await gone.delete(away);
  } catch (error) {
    logger("layer").warn("incomplete layer is left for the next start", { path: place, reason: messageOf(error) });
  }
}

async function rootAttributes(parent: Layer | undefined, idMaps: IdMaps): Promise<Owner & { mode: number }> {
  const plain = { mode: ROOT_MODE, ...rootOwner(idMaps) };
  if (parent === undefined) return plain;
  if (parent.finished?.bootstrap !== undefined) return parent.finished.bootstrap.root;
  const { mode, uid, gid } = await Deno.lstat(parent.paths.diff);
  return mode === null || uid === null || gid === null ? plain : { mode: mode & 0o7777, uid, gid };
}

/** Accepts a Create of an existing layer only if it is the same layer and still untouched. */
export async function requireSameEmptyLayer(home: HomePaths, id: string, parent: string | undefined): Promise<void> {
  const layer = await loadLayer(home, id);
  const untouched = layer.apply.kind === "none" && !layer.readOnly && await isEmpty(layer);
  if (untouched && await parentOf(home, layer) === parent) return;
  throw new NydusGdError("exists", `Cannot create layer ${id}: it exists already`);
}

/**
 * Makes a layer read-only, durably, because another is to be stacked on it; returns the layer as it is then.
 *
 * Layers written by BuildKit never get an ApplyDiff, so they are recognised here.
 */
export async function commitLayer(home: HomePaths, id: string, images: BootstrapVerifier): Promise<Layer> {
  const layer = await loadLayer(home, id);
  requireWhole(layer, "carry another layer");
  const committed = await ignore(Deno.errors.NotFound, Deno.lstat(layer.paths.committed));
  if (committed !== undefined) return layer;
  if (layer.finished === undefined) {
    const finished = await recogniseLayer(layer.paths.diff, images);
    if (!isInitLayer(id)) await syncFileSystem(layer.paths.diff);
    await writeFinished(layer.paths, finished);
  }
  await writeDurably(layer.paths.committed, "");
  await syncFolder(layer.paths.root);
  return await loadLayer(home, id);
}
