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
 * nothing is found if a record of an image's layer names one that is not here: it might name any of those that are. And
 * nothing that is older than the last change of the records' folder, which every name given to an image is, and every
 * copy put in its place: a commit of a container is a layer that came as a tar too, and may be in the records that a
 * backup has replaced, or that dockerd has lost and made again, empty, but which may come back.
 *
 * Nothing at all is found if the file system does not tell the age of a folder, or tells a wrong one: dockerd makes that
 * of the records after that of the layers.
 *
 * @module
 */
import { mountIdAt } from "../../../ffi/mountinfo.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { DockerRecords, RecordedLayers } from "../record/docker_records.ts";
import { isEmpty, type Layer, loadLayer } from "../record/layer.ts";
import { isLayerId } from "../record/layer_id.ts";
import type { HomePaths } from "../record/layer_paths.ts";

const log = logger("layer");

/** Names that dockerd's layer store gives; BuildKit gives others to its layers, and keeps other records of them. */
const DOCKER_LAYER = /^[0-9a-f]{64}(-init)?$/;

/**
 * Removes the layers that dockerd has forgotten. Never rejects. Valid only while dockerd makes no layer.
 *
 * @param remove removes a layer
 */
export async function removeUnrecorded(
  home: HomePaths,
  dockerRecords: Pick<DockerRecords, "layers">,
  remove: (id: string) => Promise<void>,
): Promise<void> {
  try {
    const recorded = await dockerRecords.layers();
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
  if (wasMadeAfter(home.home, recorded.since)) return [];
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

function isUnrecorded(home: HomePaths, id: string, { ofImages, others, since }: RecordedLayers): boolean {
  return !ofImages.has(id) && !others.has(id) && wasMadeAfter(home.layer(id).root, since);
}

function wasMadeAfter(path: string, time: Date): boolean {
  const { birthtime } = Deno.lstatSync(path);
  return birthtime !== null && birthtime > time;
}

async function holdsNothingOfAContainer(layer: Layer): Promise<boolean> {
  if (mountIdAt(layer.paths.merged) !== undefined) return false;
  return layer.apply.kind !== "none" || (await attempt(layer.id, () => isEmpty(layer)) ?? false);
}

async function attempt<T>(id: string, task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    log.warn("cannot tell whether dockerd has forgotten a layer", { layer: id, reason: messageOf(error) });
    return undefined;
  }
}
