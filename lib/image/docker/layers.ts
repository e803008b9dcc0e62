/**
 * The layers of a graph driver that Docker knows, by its own records.
 *
 * ```
 * <data-root>/image/<driver>/layerdb/sha256/<chain id>/cache-id              a layer of images, or one being removed
 *                                                    {diff,parent}          digest of its tar; chain id of the one below
 *                            layerdb/mounts/<container>/{mount-id,init-id}   the two layers of a container
 *                                                      parent               chain id of the layer below
 *                            imagedb/content/sha256/<image id>               an image
 * ```
 * dockerd makes a layer first and records it afterwards, so between the two it has layers that it would not know after
 * a crash. Source: layer/filestore.go of moby, 20.10 to 27.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ignore } from "../../base/errors.ts";
import type { DockerLayer } from "../../layer/mend_layer.ts";
import type { RecordedLayers } from "../../layer/unrecorded_layers.ts";

/** Files that name a layer, by the folder of layerdb whose folders have them. */
const NAMING_FILES = { sha256: ["cache-id"], mounts: ["mount-id", "init-id"] } as const;

/**
 * Returns the layers that Docker's records name; undefined if it has no records.
 *
 * @param imageDir `<data-root>/image/<driver>`
 * @throws {Error} if a record cannot be read: then it is not known which layer it names
 */
export async function recordedLayers(imageDir: string): Promise<RecordedLayers | undefined> {
  const layerdb = join(imageDir, "layerdb");
  const info = await unlessMissing(Deno.stat(layerdb));
  if (info === undefined) return undefined;
  const ids = new Set<string>();
  for await (const path of namingFiles(layerdb)) {
    const id = await unlessMissing(Deno.readTextFile(path));
    if (id !== undefined) ids.add(id.trim());
  }
  const hasImages = (await namesIn(join(imageDir, "imagedb", "content", "sha256"))).length > 0;
  return { ids, emptySince: ids.size > 0 || hasImages ? undefined : info.birthtime ?? undefined };
}

/** Yields the paths of the files that may name a layer. */
async function* namingFiles(layerdb: string): AsyncGenerator<string> {
  for (const [folder, files] of Object.entries(NAMING_FILES)) {
    for (const name of await namesIn(join(layerdb, folder))) {
      yield* files.map((file) => join(layerdb, folder, name, file));
    }
  }
}

/**
 * Returns what Docker's records say of the layer `id`; undefined if they do not name it.
 *
 * @throws {Error} as {@link recordedLayers}
 */
export async function recordedLayer(imageDir: string, id: string): Promise<DockerLayer | undefined> {
  const [images, containers] = [join(imageDir, "layerdb", "sha256"), join(imageDir, "layerdb", "mounts")];
  const parentOf = async (folder: string) => {
    const chain = await wordIn(folder, "parent");
    const parent = chain && await wordIn(join(images, chain.replace(/^sha256:/, "")), "cache-id");
    return parent === undefined ? {} : { parent };
  };
  for (const name of await namesIn(images)) {
    const folder = join(images, name);
    if (await wordIn(folder, "cache-id") !== id) continue;
    const diffId = await wordIn(folder, "diff");
    return { ...(diffId === undefined ? {} : { diffId }), ...await parentOf(folder) };
  }
  for (const name of await namesIn(containers)) {
    const folder = join(containers, name);
    const init = await wordIn(folder, "init-id");
    if (init === id) return await parentOf(folder);
    if (await wordIn(folder, "mount-id") === id) return init === undefined ? await parentOf(folder) : { parent: init };
  }
  return undefined;
}

/**
 * Returns the layer below each layer that Docker's records name, by ID; none for the lowest ones. Of layers of images
 * only what their chain id confirms: it is the digest of theirs and of all below.
 *
 * @throws {Error} as {@link recordedLayers}
 */
export async function recordedParents(imageDir: string): Promise<Map<string, string>> {
  const [images, containers] = [join(imageDir, "layerdb", "sha256"), join(imageDir, "layerdb", "mounts")];
  const ofImages = await wordsIn(images, ["cache-id", "parent", "diff"]);
  const idOf = (chain: string | undefined) => ofImages.get(chain?.replace(/^sha256:/, "") ?? "")?.["cache-id"];
  const parents = new Map<string, string>();
  const add = (id: string | undefined, parent: string | undefined) => {
    if (id !== undefined && parent !== undefined) parents.set(id, parent);
  };
  for (const [chain, { "cache-id": id, parent, diff }] of ofImages) {
    if (chain === createHash("sha256").update(`${parent} ${diff}`).digest("hex")) add(id, idOf(parent));
  }
  for (const { "mount-id": id, "init-id": init, parent } of (await wordsIn(containers, CONTAINER_FILES)).values()) {
    add(init, idOf(parent));
    add(id, init ?? idOf(parent));
  }
  return parents;
}

const CONTAINER_FILES = ["mount-id", "init-id", "parent"] as const;

/** Content of these files of each folder in `folder`, by its name. */
async function wordsIn<Name extends string>(
  folder: string,
  files: readonly Name[],
): Promise<Map<string, { readonly [N in Name]?: string }>> {
  const all = new Map<string, { readonly [N in Name]?: string }>();
  for (const name of await namesIn(folder)) {
    const words: { [N in Name]?: string } = {};
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

async function namesIn(folder: string): Promise<string[]> {
  return (await unlessMissing(Array.fromAsync(Deno.readDir(folder))) ?? []).map(({ name }) => name);
}

/** A file that is missing names no layer; nor does one where a folder is expected. */
function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  return ignore([Deno.errors.NotFound, Deno.errors.NotADirectory], reading);
}
