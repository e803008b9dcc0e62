/**
 * The layers of a graph driver that Docker knows, by its own records.
 *
 * ```
 * <data-root>/image/<driver>/layerdb/sha256/<chain id>/cache-id              a layer of images, or one being removed
 *                                                    {diff,parent}          digest of its tar; chain id of the one below
 *                            layerdb/mounts/<container>/{mount-id,init-id}   the two layers of a container
 *                                                      parent               chain id of the layer below
 *                            imagedb/content/sha256/<image id>               an image
 *                            repositories.json                               names of images, made anew for each change
 * ```
 * dockerd makes a layer first and records it afterwards, so between the two it has layers that it would not know after
 * a crash. Source: layer/filestore.go of moby, 20.10 to 27.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { AT } from "../../../ffi/fcntl.ts";
import { statat } from "../../../ffi/sys_stat.ts";
import { ignore, NydusGdError } from "../../base/errors.ts";
import type { DockerLayer, DockerRecords, RecordedLayers } from "../../layer/record/docker_records.ts";
import { containerRecords, diffIdsOf, imageConfigs, layerRecords } from "./files.ts";

/** The records in `imageDir`, `<data-root>/image/<driver>`. */
export function dockerRecords(imageDir: string): DockerRecords {
  return {
    layers: () => recordedLayers(imageDir),
    layer: (id) => recordedLayer(imageDir, id),
    parents: () => recordedParents(imageDir),
  };
}

/** Records of layers of images. dockerd renames one before it removes the layer: `<chain id>-<random>-removing`. */
export const CHAIN_ID = /^[0-9a-f]{64}$/;

/**
 * Returns the layers that Docker's records name; undefined if it has no records, or only of images.
 *
 * @param imageDir `<data-root>/image/<driver>`
 * @throws {Error} if a record cannot be read
 * @throws {NydusGdError} "corrupt" if the record of an image's layer names none, or is missing
 */
export async function recordedLayers(imageDir: string): Promise<RecordedLayers | undefined> {
  if (await unlessMissing(Deno.stat(join(imageDir, "layerdb"))) === undefined) return undefined;
  const images = layerRecords(imageDir);
  const byChain = new Map<string, string>();
  const others = new Set<string>();
  for (const [name, { "cache-id": id }] of await wordsIn(images, ["cache-id"])) {
    const isInUse = CHAIN_ID.test(name);
    if (id === undefined && isInUse) throw lostRecord(join(images, name, "cache-id"), "it names no layer");
    else if (isInUse) byChain.set(name, id as string);
    else if (id !== undefined) others.add(id);
  }
  const chainsOfImages = await imageChains(imageDir);
  for (const chain of [...chainsOfImages.values()].flat()) {
    if (!byChain.has(chain)) throw lostRecord(join(images, chain), "it is missing, and an image has this layer");
  }
  for (const words of (await wordsIn(containerRecords(imageDir), ["mount-id", "init-id"])).values()) {
    for (const id of Object.values(words)) others.add(id);
  }
  if (byChain.size + others.size === 0 && chainsOfImages.size > 0) return undefined;
  const { ctimeSec, ctimeNsec } = statat(AT.FDCWD, imageDir);
  const since = new Date(Number(ctimeSec) * 1000 + ctimeNsec / 1e6);
  return { ofImages: new Set(byChain.values()), others, since };
}

function lostRecord(path: string, state: string): NydusGdError {
  return new NydusGdError("corrupt", `Cannot read "${path}": ${state}`);
}

/**
 * Returns the layers of each image in Docker's records, as chain ids without "sha256:", lowest first; none for an image
 * whose configuration cannot be read. Keys are paths of the configurations.
 */
export async function imageChains(imageDir: string): Promise<Map<string, string[]>> {
  const folder = imageConfigs(imageDir);
  const all = new Map<string, string[]>();
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    const chains: string[] = [];
    for (const diff of await diffIdsOf(path) ?? []) {
      const below = chains.at(-1);
      chains.push(below === undefined ? diff.replace(/^sha256:/, "") : chainOf(`sha256:${below}`, diff));
    }
    all.set(path, chains);
  }
  return all;
}

/**
 * Returns what Docker's records say of the layer `id`; undefined if they do not name it.
 *
 * @throws {Error} as {@link recordedLayers}
 */
export async function recordedLayer(imageDir: string, id: string): Promise<DockerLayer | undefined> {
  return (await namedLayers(imageDir)).find((layer) => layer.id === id)?.recorded;
}

/**
 * Returns the layer below each layer that Docker's records name, by ID; none for the lowest ones. Of layers of images
 * only what their chain id confirms: it is the digest of theirs and of all below.
 *
 * @throws {Error} as {@link recordedLayers}
 */
export async function recordedParents(imageDir: string): Promise<Map<string, string>> {
  const layers = (await namedLayers(imageDir)).filter(({ isConfirmed }) => isConfirmed);
  return new Map(layers.flatMap(({ id, recorded: { parent } }) => parent === undefined ? [] : [[id, parent]]));
}

/** A layer that layerdb names. */
interface NamedLayer {
  readonly id: string;
  readonly recorded: DockerLayer;
  /** Whether the layer below is certain. */
  readonly isConfirmed: boolean;
}

/** Reads layerdb: layers of images first. */
async function namedLayers(imageDir: string): Promise<NamedLayer[]> {
  const ofImages = await wordsIn(layerRecords(imageDir), ["cache-id", "parent", "diff"]);
  const ofContainers = await wordsIn(containerRecords(imageDir), ["mount-id", "init-id", "parent"]);
  const idOf = (chain: string | undefined) => ofImages.get(chain?.replace(/^sha256:/, "") ?? "")?.["cache-id"];
  const layers: NamedLayer[] = [];
  const add = ({ id, ...named }: Omit<NamedLayer, "id"> & { readonly id: string | undefined }) => {
    if (id !== undefined) layers.push({ id, ...named });
  };
  for (const [chain, { "cache-id": id, parent, diff }] of ofImages) {
    add({ id, recorded: dockerLayer(idOf(parent), diff), isConfirmed: chain === chainOf(parent, diff) });
  }
  for (const { "mount-id": id, "init-id": init, parent } of ofContainers.values()) {
    add({ id: init, recorded: dockerLayer(idOf(parent)), isConfirmed: true });
    add({ id, recorded: dockerLayer(init ?? idOf(parent)), isConfirmed: true });
  }
  return layers;
}

function dockerLayer(parent: string | undefined, diffId?: string): DockerLayer {
  return { ...(diffId === undefined ? {} : { diffId }), ...(parent === undefined ? {} : { parent }) };
}

/** Chain id, without "sha256:", of a layer with the digest `diff` on the layers with the chain id `parent`. */
export function chainOf(parent: string | undefined, diff: string | undefined): string {
  return createHash("sha256").update(`${parent} ${diff}`).digest("hex");
}

/** Words in some files of one folder. */
type Words<Name extends string> = { readonly [N in Name]?: string };

/** Content of these files of each folder in `folder`, by its name. */
export async function wordsIn<Name extends string>(
  folder: string,
  files: readonly Name[],
): Promise<Map<string, Words<Name>>> {
  const all = new Map<string, Words<Name>>();
  for (const name of await namesIn(folder)) {
    const words: { -readonly [N in Name]?: string } = {};
    await Promise.all(files.map(async (file) => {
      const word = await wordIn(join(folder, name), file);
      if (word !== undefined) words[file] = word;
    }));
    all.set(name, words);
  }
  return all;
}

/** Content of a file; undefined if it is missing or empty. */
async function wordIn(folder: string, name: string): Promise<string | undefined> {
  return (await unlessMissing(Deno.readTextFile(join(folder, name))))?.trim() || undefined;
}

/** Names in a folder; none if there is no such folder. */
export async function namesIn(folder: string): Promise<string[]> {
  return (await unlessMissing(Array.fromAsync(Deno.readDir(folder))) ?? []).map(({ name }) => name);
}

/** A file that is missing names no layer; nor does one where a folder is expected. */
function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  return ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], reading);
}
