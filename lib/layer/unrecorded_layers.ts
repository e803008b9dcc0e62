/**
 * Finds layers that dockerd has forgotten.
 *
 * dockerd makes an image's layer, has it unpacked, and then records it. If it is killed before the record, no image
 * ever has the layer, and nobody removes it: not a part of it, nor a whole one, which might be the bootstrap of a lazy
 * image with data in the cache. When the next dockerd starts, its records tell.
 *
 * Only what can be had again is found: a layer that came as a tar, or is empty, and carries no other layer. What a
 * container wrote is never found.
 *
 * Records may be damaged, or of another time than the layers, as after one of both was restored from a backup. So
 * nothing is found if a record of an image's layer names one that is not here: it might name any of those that are.
 *
 * Records that name no layer may be lost: dockerd makes the folder again, empty, when somebody has taken it away, and
 * may get the former one back. So nothing that is older than the folder is found then, and nothing at all if there are
 * images, or if the file system does not tell the folder's age or tells a wrong one: dockerd makes it after that of the
 * layers. What is left was made by a dockerd that has had this folder from the beginning, and was killed during its very
 * first pull.
 *
 * @module
 */
import { mountCount } from "../../ffi/mountinfo.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { type Layer, loadLayer } from "./layer.ts";
import { isLayerId } from "./layer_id.ts";
import type { HomePaths } from "./layer_paths.ts";
import { isEmpty } from "./make_layer.ts";

const log = logger("layer");

/** Names that dockerd's layer store gives; BuildKit gives others to its layers, and keeps other records of them. */
const DOCKER_LAYER = /^[0-9a-f]{64}(-init)?$/;

/** What dockerd has recorded. */
export interface RecordedLayers {
  /** Ids of layers that images have. */
  readonly ofImages: ReadonlySet<string>;
  /** Ids of layers of containers, and of layers that were being removed: they may be gone. */
  readonly others: ReadonlySet<string>;
  /** When the records began, if they name neither a layer nor an image. */
  readonly emptySince: Date | undefined;
}

/**
 * Removes the layers that dockerd has forgotten. Never rejects. Valid only while dockerd makes no layer.
 *
 * @param recordedLayers returns what dockerd has recorded; undefined if it has no records
 * @param remove removes a layer
 */
export async function removeUnrecorded(
  home: HomePaths,
  recordedLayers: () => Promise<RecordedLayers | undefined>,
  remove: (id: string) => Promise<void>,
): Promise<void> {
  try {
    const recorded = await recordedLayers();
    if (recorded === undefined) return;
    for (const id of await unrecordedLayers(home, recorded)) {
      await remove(id);
      log.info("layer that dockerd had not recorded when it ended is removed", { layer: id });
    }
  } catch (error) {
    log.warn("layers that dockerd had not recorded when it ended stay", { reason: messageOf(error) });
  }
}

/** Returns them, those on top before those below. */
async function unrecordedLayers(home: HomePaths, recorded: RecordedLayers): Promise<string[]> {
  const names = new Set([...Deno.readDirSync(home.home)].map(({ name }) => name));
  const candidates = new Set(
    [...names].filter((name) => DOCKER_LAYER.test(name) && isUnrecorded(home, name, recorded)),
  );
  if (candidates.size === 0) return [];
  const lost = [...recorded.ofImages].find((id) => !names.has(id));
  if (lost !== undefined) throw new NydusGdError("corrupt", `Cannot find layer ${lost}: Docker's records name it`);
  const forgotten = new Map<string, Layer>();
  const needed = new Set<string>();
  for (const name of [...names].filter(isLayerId)) {
    const layer = await attempt(name, () => loadLayer(home, name));
    if (layer === undefined) continue;
    if (candidates.has(name) && await holdsNothingOfAContainer(layer)) forgotten.set(name, layer);
    else for (const short of layer.lower) needed.add(short);
  }
  const unneeded = [...forgotten.values()].filter(({ short }) => !needed.has(short));
  return unneeded.sort((one, other) => other.lower.length - one.lower.length).map(({ id }) => id);
}

function isUnrecorded(home: HomePaths, id: string, { ofImages, others, emptySince }: RecordedLayers): boolean {
  if (ofImages.size + others.size > 0) return !ofImages.has(id) && !others.has(id);
  return emptySince !== undefined && !wasMadeAfter(home.home, emptySince) &&
    wasMadeAfter(home.layer(id).root, emptySince);
}

function wasMadeAfter(path: string, time: Date): boolean {
  const { birthtime } = Deno.lstatSync(path);
  return birthtime !== null && birthtime > time;
}

async function holdsNothingOfAContainer({ id, apply, paths }: Layer): Promise<boolean> {
  if (mountCount(paths.merged) > 0) return false;
  return apply.kind !== "none" || (await attempt(id, () => isEmpty(paths.diff)) ?? false);
}

async function attempt<T>(id: string, task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    log.warn("cannot tell whether dockerd has forgotten a layer", { layer: id, reason: messageOf(error) });
    return undefined;
  }
}
