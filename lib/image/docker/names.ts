/**
 * Maps layers to the names of the Docker images that contain them.
 *
 * ```
 * <data-root>/image/<driver>/repositories.json              {"Repositories": {NAME: {NAME:TAG: IMAGE ID, …}}}
 * <data-root>/image/<driver>/imagedb/content/sha256/<hex>   {"rootfs": {"diff_ids": […]}, …}
 * ```
 * Records that cannot be read are skipped. Source: moby 20.10 to 27, reference/store.go and image/fs.go.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { join } from "node:path";
import * as v from "valibot";
import { diffIdsOf, imageConfigs, readDockerJson } from "./files.ts";

const Repositories = v.object({ Repositories: v.record(v.string(), v.record(v.string(), v.string())) });

/** Size of the cache of layers by image. The configuration of an image never changes. */
const IMAGES_REMEMBERED = 1000;

/** Finds image names by layer. */
export class DockerNames {
  readonly #diffIds = new LRUCache<string, readonly string[]>({ max: IMAGES_REMEMBERED });

  /**
   * Returns, for each wanted layer that occurs in an image, the sorted names "host/repository:tag" of its images.
   *
   * @param imageDir `<data-root>/image/<driver>`
   * @param wanted diffIDs of the layers: "sha256:…"
   */
  async of(imageDir: string, wanted: ReadonlySet<string>): Promise<ReadonlyMap<string, readonly string[]>> {
    const found = new Map<string, string[]>();
    if (wanted.size === 0) return found;
    const document = await readDockerJson(Repositories, join(imageDir, "repositories.json"));
    const tags = Object.values(document?.Repositories ?? {}).flatMap((references) => Object.entries(references))
      .filter(([name]) => !name.includes("@"));
    for (const [name, imageId] of tags) {
      for (const diffId of wanted.intersection(new Set(await this.#layersOf(imageDir, imageId)))) {
        const names = found.get(diffId);
        if (names === undefined) found.set(diffId, [name]);
        else names.push(name);
      }
    }
    for (const names of found.values()) names.sort();
    return found;
  }

  async #layersOf(imageDir: string, imageId: string): Promise<readonly string[]> {
    const key = `${imageDir}/${imageId}`;
    const known = this.#diffIds.get(key);
    if (known !== undefined) return known;
    const hex = /^sha256:([0-9a-f]{64})$/.exec(imageId)?.[1];
    if (hex === undefined) return [];
    const diffIds = await diffIdsOf(join(imageConfigs(imageDir), hex));
    if (diffIds !== undefined) this.#diffIds.set(key, diffIds);
    return diffIds ?? [];
  }
}
