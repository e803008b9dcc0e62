/**
 * Restores a home to a consistent state after any kind of end.
 *
 * | found | action |
 * |---|---|
 * | something in `.making` or `.removing` | deleted: its creation was never confirmed, or its removal was |
 * | a layer whose ApplyDiff did not end, or failed | deleted, unless Docker has recorded it, which it does only after the response |
 * | a layer whose record, or list of layers below, is damaged or missing | the file is written again, if the disk tells what it said (mend_layer.ts) |
 * | a layer without its short link | the link is created again |
 * | a short link without its layer | deleted |
 * | a layer whose file `link` is damaged or missing, or names another layer | the file is written again, as its short link says |
 * | a mount of a layer | counted once |
 * | a mount in the home that belongs to no layer | unmounted, if it is one that this store makes |
 *
 * What cannot be read or deleted is logged and left in place: a broken layer must not prevent serving the others.
 *
 * @module
 */
import { ignore, messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { syncFolder, writeDurably } from "../../base/durable.ts";
import { discardLayer } from "../remove/discard_layer.ts";
import type { GoneLayers } from "../remove/gone_layers.ts";
import { type Layer, loadLayer, requireWhole } from "../record/layer.ts";
import { brokenStacks, type DamagedLayer, damageOf, layerProblems } from "../record/layer_damage.ts";
import { isLayerId } from "../record/layer_id.ts";
import { type HomePaths, idOfLinkTarget, isShortName, linkTarget } from "../record/layer_paths.ts";
import { type Mending, mendLower, mendRecord } from "./mend_layer.ts";
import { isAtOrBelow, mountsBelow } from "../../../ffi/mountinfo.ts";
import { unmountAllServed } from "../overlay/overlay_mount.ts";

const log = logger("layer", "recovery");

/** Result of {@link recoverHome}. */
export interface Recovered {
  /** The complete layers. */
  readonly layers: readonly Layer[];
  /** Layers that are mounted. */
  readonly mounted: readonly Layer[];
  /** Layers that cannot be used. */
  readonly damaged: readonly DamagedLayer[];
}

/**
 * Creates the store's own folders, cleans up unfinished work and finds mounted layers.
 *
 * @param gone deletes layers, later those that cannot be deleted now
 */
export async function recoverHome(home: HomePaths, mending: Mending, gone: GoneLayers): Promise<Recovered> {
  for (const folder of [home.links, home.making, home.removing]) {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  }
  await unmountStrays(home);
  for (const folder of [home.making, home.removing]) await emptyFolder(folder, gone);
  await recoverShortNames(home);
  const { layers, damaged } = await recoverLayers(home, mending, gone);
  for (const { message, remedy } of layerProblems(damaged, home)) log.error(message, { remedy });
  await recoverLinks(home, layers);
  const points = new Set(mountsBelow(home.home).map((mount) => mount.mountPoint));
  return { layers, mounted: layers.filter((layer) => points.has(layer.paths.merged)), damaged };
}

/**
 * Unmounts overlays whose layer is being removed, and views of images that no overlay needs any more; other file systems
 * below the home belong to someone else.
 */
async function unmountStrays(home: HomePaths): Promise<void> {
  for (const { mountPoint, fsType } of mountsBelow(home.home)) {
    const isLayer = fsType === "overlay" && mountPoint.endsWith("/merged");
    const gone = isAtOrBelow(mountPoint, home.making) || isAtOrBelow(mountPoint, home.removing);
    if ((isLayer && gone) || home.isViewPlace(mountPoint)) {
      await attempt("unmount", mountPoint, () => unmountAllServed(mountPoint));
    }
  }
}

async function emptyFolder(folder: string, gone: GoneLayers): Promise<void> {
  for (const entry of [...Deno.readDirSync(folder)]) {
    await gone.delete(`${folder}/${entry.name}`);
  }
}

/** Layers above refer to a layer by its short name, so it must not get another one. */
async function recoverShortNames(home: HomePaths): Promise<void> {
  for (const { name, isSymlink } of [...Deno.readDirSync(home.links)]) {
    const id = isSymlink && isShortName(name) ? idOfShortLink(home, name) : undefined;
    if (id === undefined || !exists(home.layer(id).root)) continue;
    const { link } = home.layer(id);
    await attempt("read", link, async () => {
      const short = (await ignore(Deno.errors.NotFound, Deno.readTextFile(link)))?.trimEnd() ?? "";
      if (isShortName(short) && [id, undefined].includes(idOfShortLink(home, short))) return;
      await writeDurably(link, name);
      log.warn("the short name of a layer was damaged, it is written again", { path: link });
    });
  }
}

/** The id of the layer that a short link leads to; undefined if there is none. */
function idOfShortLink(home: HomePaths, short: string): string | undefined {
  const path = home.shortLink(short);
  return exists(path) ? idOfLinkTarget(Deno.readLinkSync(path)) : undefined;
}

/** Mends what can be mended, lowest layers first, and deletes what dockerd does not know of. */
async function recoverLayers(
  home: HomePaths,
  mending: Mending,
  gone: GoneLayers,
): Promise<Omit<Recovered, "mounted">> {
  const layers = new Map<string, Layer>();
  const unread = new Map<string, DamagedLayer>();
  for (const { name, isDirectory } of [...Deno.readDirSync(home.home)]) {
    if (!isDirectory || !isLayerId(name)) continue;
    try {
      const layer = await recoverLayer(home, name, mending, gone);
      if (layer !== undefined) layers.set(name, layer);
    } catch (error) {
      unread.set(name, damageOf(name, error));
    }
  }
  const parents = await attempt("compare", home.home, () => mending.dockerRecords.parents());
  const mended = new Set<string>();
  for (;;) {
    const broken = brokenStacks([...layers.values()], home, parents);
    const damaged = new Map([...unread, ...broken.map((layer) => [layer.id, layer] as const)]);
    const whole = wholeLayers([...layers.values()], damaged);
    const before = mended.size;
    for (const id of damaged.keys()) {
      const path = home.layer(id).lower;
      const layer = mended.has(id) ? undefined : await attempt("mend", path, () => mendLower(home, id, whole, mending));
      if (layer === undefined) continue;
      mended.add(id);
      unread.delete(id);
      layers.set(id, layer);
    }
    if (mended.size > before) continue;
    return { layers: [...layers.values()], damaged: [...damaged.values()] };
  }
}

/** The layers that are whole, with all layers below them, by id. */
function wholeLayers(layers: readonly Layer[], damaged: ReadonlyMap<string, DamagedLayer>): Map<string, Layer> {
  const sound = layers.filter(({ id }) => !damaged.has(id));
  const shorts = new Set(sound.map(({ short }) => short));
  return new Map(
    sound.filter(({ lower }) => lower.every((short) => shorts.has(short))).map((layer) => [layer.id, layer]),
  );
}

/** Undefined if it was deleted. @throws {Error} if it cannot be used */
async function recoverLayer(
  home: HomePaths,
  id: string,
  mending: Mending,
  gone: GoneLayers,
): Promise<Layer | undefined> {
  const found = await loadLayer(home, id).catch(() => undefined);
  if (found?.apply.kind === "none" || found?.apply.kind === "done") return found;
  await mendRecord(home, id, mending);
  const layer = await loadLayer(home, id);
  if (layer.apply.kind === "none" || layer.apply.kind === "done") return layer;
  if (await mending.dockerRecords.layer(id) !== undefined) requireWhole(layer, "be used");
  await attempt("delete", layer.paths.root, () => discardLayer(home, id, layer.short, gone));
  return undefined;
}

async function recoverLinks(home: HomePaths, layers: readonly Layer[]): Promise<void> {
  const ids = new Map(layers.map((layer) => [layer.short, layer.id]));
  const present = new Set<string>();
  for (const entry of [...Deno.readDirSync(home.links)]) {
    const path = home.shortLink(entry.name);
    const target = entry.isSymlink ? idOfLinkTarget(Deno.readLinkSync(path)) : undefined;
    const known = ids.get(entry.name);
    if (target !== undefined && target === known) present.add(entry.name);
    else if (known !== undefined || target === undefined || !exists(home.layer(target).root)) {
      await attempt("delete", path, () => Deno.remove(path));
    }
  }
  const missing = layers.filter((layer) => !present.has(layer.short));
  for (const { short, id } of missing) {
    await attempt("link", id, () => Deno.symlink(linkTarget(id), home.shortLink(short)));
  }
  if (missing.length > 0) await syncFolder(home.links);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function attempt<T>(what: string, path: string, task: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    log.warn(`cannot ${what} what was left behind`, { path, reason: messageOf(error) });
    return undefined;
  }
}
