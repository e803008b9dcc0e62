/**
 * A layer as described by its files on disk, and the layers below it.
 *
 * @module
 */
import { ignore, NydusGdError } from "../../base/errors.ts";
import { readStateText } from "../../base/json_file.ts";
import { type HomePaths, idOfLinkTarget, isShortName, type LayerPaths, parseLower } from "./layer_paths.ts";
import { type ApplyState, applyState, type FinishedLayer, readFinished } from "./layer_record.ts";
import type { LazyLayer } from "../lazy/lazy_images.ts";

/** An existing layer. A snapshot of the disk: load it again after a change. */
export interface Layer {
  readonly id: string;
  readonly paths: LayerPaths;
  /** Its short name. */
  readonly short: string;
  /** Short names of all layers below, topmost first, ending at the first that hides the rest. */
  readonly lower: readonly string[];
  readonly apply: ApplyState;
  readonly finished: FinishedLayer | undefined;
  /** Whether it can no longer be written: finished, or below another layer. */
  readonly readOnly: boolean;
}

/** Whether there is a layer `id`. */
export async function layerExists(home: HomePaths, id: string): Promise<boolean> {
  const info = await ignore(Deno.errors.NotFound, Deno.lstat(home.layer(id).root));
  return info?.isDirectory ?? false;
}

/**
 * Reads a layer.
 *
 * @throws {NydusGdError} "not-found", or "corrupt" if its files were not written by this store
 */
export async function loadLayer(home: HomePaths, id: string): Promise<Layer> {
  const paths = home.layer(id);
  const [short, text, finished, committed, work] = await Promise.all([
    readStateText(paths.link),
    readStateText(paths.lower),
    readFinished(paths),
    ignore(Deno.errors.NotFound, Deno.lstat(paths.committed)),
    ignore(Deno.errors.NotFound, Deno.lstat(paths.work)),
  ]);
  if (short === undefined) {
    if (await layerExists(home, id)) throw corrupt(id, "its file link is missing");
    throw new NydusGdError("not-found", `Cannot find layer ${id}: there is none in ${home.home}`, {
      hint: LOST_REMEDY,
    });
  }
  if (!isShortName(short.trimEnd())) throw corrupt(id, "its file link is damaged");
  if (text === undefined && work !== undefined) throw corrupt(id, "its file lower is missing");
  const lower = text === undefined ? [] : parseLower(text);
  if (lower === undefined) throw corrupt(id, "its file lower is damaged");
  return {
    id,
    paths,
    short: short.trimEnd(),
    lower,
    apply: applyState(paths, finished),
    finished,
    readOnly: finished !== undefined || committed !== undefined,
  };
}

/** Docker does not pull a layer that it has recorded, so what has it must be removed first. */
const LOST_REMEDY = "nydus-gd doctor names what to remove, so that Docker pulls it again";

function corrupt(id: string, state: string, hint?: string): NydusGdError {
  return new NydusGdError("corrupt", `Cannot use layer ${id}: ${state}`, hint === undefined ? {} : { hint });
}

/**
 * Refuses a layer with incomplete content.
 *
 * @param to the intended use: "mount", "stack on"
 */
export function requireWhole(layer: Layer, to: string): void {
  const { apply } = layer;
  if (apply.kind === "begun") throw corrupt(layer.id, `it cannot ${to}: its ApplyDiff has not ended`);
  if (apply.kind === "failed") throw corrupt(layer.id, `it cannot ${to}: its ApplyDiff failed (${apply.reason})`);
}

/** Whether the layer has no files of its own. */
export async function isEmpty({ paths }: Layer): Promise<boolean> {
  for await (const _ of Deno.readDir(paths.diff)) return false;
  return true;
}

/** Whether layers above see nothing below this one. */
export function hidesBelow(layer: Layer): boolean {
  return layer.finished?.opaque === true || layer.finished?.bootstrap !== undefined;
}

/** The lazy image whose bootstrap the layer contains; undefined for an ordinary layer. */
export function lazyImageOf(layer: Layer, home: HomePaths): LazyLayer | undefined {
  const bootstrap = layer.finished?.bootstrap;
  if (bootstrap === undefined) return undefined;
  const diffId = layer.finished?.diffId;
  return {
    id: layer.id,
    bootstrapPath: `${layer.paths.diff}/${bootstrap.path}`,
    home: home.home,
    ...(diffId === undefined ? {} : { diffId }),
  };
}

/** The id of the layer with this short name. */
async function idOfShortName(home: HomePaths, short: string, wantedBy: string): Promise<string> {
  const target = await ignore(Deno.errors.NotFound, Deno.readLink(home.shortLink(short)));
  const id = target === undefined ? undefined : idOfLinkTarget(target);
  if (id === undefined) throw corrupt(wantedBy, `a layer below it is gone (l/${short})`, LOST_REMEDY);
  return id;
}

/** The id of the layer that this one was created on; undefined for the lowest. */
export async function parentOf(home: HomePaths, layer: Layer): Promise<string | undefined> {
  const [first] = layer.lower;
  return first === undefined ? undefined : await idOfShortName(home, first, layer.id);
}

/** What an overlay of a layer is stacked on. */
export interface Foundation {
  /** The diff folders below, topmost first, without the lazy image. */
  readonly diffs: readonly string[];
  /** The lazy image below them all. */
  readonly lazy: LazyLayer | undefined;
}

/** Everything below the layer, whether visible or not. */
export async function stackBelow(home: HomePaths, layer: Layer): Promise<Foundation> {
  const ids = await Promise.all(layer.lower.map((short) => idOfShortName(home, short, layer.id)));
  const lowest = ids.at(-1);
  const bottom = lowest === undefined ? undefined : await loadLayer(home, lowest);
  if (bottom !== undefined && bottom.lower.length > 0 && !hidesBelow(bottom)) {
    throw corrupt(layer.id, "its file lower does not list all layers below it");
  }
  const lazy = bottom && lazyImageOf(bottom, home);
  const ordinary = lazy === undefined ? ids : ids.slice(0, -1);
  return { diffs: ordinary.map((id) => home.layer(id).diff), lazy };
}

/** Everything visible below the layer. A bootstrap layer and a layer with an opaque root have nothing below. */
export async function foundationOf(home: HomePaths, layer: Layer): Promise<Foundation> {
  return hidesBelow(layer) ? { diffs: [], lazy: undefined } : await stackBelow(home, layer);
}
