/**
 * The names that Docker knows images by, for people who look at layers.
 *
 * ```
 * <data-root>/image/<driver>/repositories.json              {"Repositories": {NAME: {NAME:TAG: IMAGE ID, …}}}
 * <data-root>/image/<driver>/imagedb/content/sha256/<hex>   {"rootfs": {"diff_ids": […]}, …}
 * ```
 * The files are Docker's and change while it runs: what cannot be read is no name. Source: moby 20.10 to 27,
 * reference/store.go and image/fs.go.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";

const log = logger("image");

const Repositories = v.object({ Repositories: v.record(v.string(), v.record(v.string(), v.string())) });
const Config = v.object({ rootfs: v.object({ diff_ids: v.array(v.string()) }) });

/** Bytes of the largest file that is read. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;
/** Images whose layers are remembered: their configurations never change. */
const IMAGES_REMEMBERED = 1000;

/** Names by layer. */
export class DockerNames {
  readonly #diffIds = new LRUCache<string, readonly string[]>({ max: IMAGES_REMEMBERED });

  /**
   * "host/repository:tag" of every image that has the layer, sorted.
   *
   * @param imageDir `<data-root>/image/<driver>`
   * @param diffId "sha256:…"
   */
  async of(imageDir: string, diffId: string): Promise<string[]> {
    const document = await readDocument(Repositories, join(imageDir, "repositories.json"));
    const names: string[] = [];
    for (const references of Object.values(document?.Repositories ?? {})) {
      for (const [name, imageId] of Object.entries(references)) {
        if (name.includes("@")) continue;
        if ((await this.#layersOf(imageDir, imageId)).includes(diffId)) names.push(name);
      }
    }
    return names.sort();
  }

  async #layersOf(imageDir: string, imageId: string): Promise<readonly string[]> {
    const key = `${imageDir}/${imageId}`;
    const known = this.#diffIds.get(key);
    if (known !== undefined) return known;
    const hex = /^sha256:([0-9a-f]{64})$/.exec(imageId)?.[1];
    if (hex === undefined) return [];
    const config = await readDocument(Config, join(imageDir, "imagedb/content/sha256", hex));
    if (config !== undefined) this.#diffIds.set(key, config.rootfs.diff_ids);
    return config?.rootfs.diff_ids ?? [];
  }
}

async function readDocument<S extends v.GenericSchema>(schema: S, path: string): Promise<v.InferOutput<S> | undefined> {
  try {
    const { size } = await Deno.stat(path);
    if (size > MAX_FILE_BYTES) throw new RangeError(`it is larger than ${MAX_FILE_BYTES} bytes`);
    return v.parse(schema, JSON.parse(await Deno.readTextFile(path)));
  } catch (error) {
    log.debug("Docker's file not read", { path, reason: messageOf(error) });
    return undefined;
  }
}
