/**
 * Maps layers to the Docker containers that own them, to show who uses an image.
 *
 * ```
 * <data-root>/image/<driver>/layerdb/mounts/<container>/mount-id   id of the container's own layer
 * <data-root>/containers/<container>/config.v2.json                {"Name": "/web", …}
 * ```
 * Source: moby 20.10 to 27, layer/filestore.go and container/container.go.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { ignore } from "../../base/errors.ts";
import { readDockerJson, readDockerWord } from "./files.ts";

const Config = v.object({ Name: v.string() });

/** Size of the cache of layers by container. The layer of a container never changes. */
const CONTAINERS_REMEMBERED = 10_000;

/** A Docker container. */
export interface DockerContainer {
  readonly id: string;
  /** "web"; undefined if Docker's record cannot be read. */
  readonly name: string | undefined;
}

/** Finds containers by layer. */
export class DockerContainers {
  /** Layer by container. */
  readonly #layers = new LRUCache<string, string>({ max: CONTAINERS_REMEMBERED });

  /**
   * Returns the containers that own these layers, by layer. Layers of builds and of containers being created have none.
   *
   * @param imageDir `<data-root>/image/<driver>`
   */
  async of(imageDir: string, layerIds: ReadonlySet<string>): Promise<Map<string, DockerContainer>> {
    const found = new Map<string, DockerContainer>();
    if (layerIds.size === 0) return found;
    const mounts = join(imageDir, "layerdb/mounts");
    const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(mounts))) ?? [];
    for (const { name: id } of entries) {
      const layerId = await this.#layerOf(mounts, id);
      if (layerId === undefined || !layerIds.has(layerId)) continue;
      const path = join(dirname(dirname(imageDir)), "containers", id, "config.v2.json");
      found.set(layerId, { id, name: (await readDockerJson(Config, path))?.Name.replace(/^\//, "") });
    }
    return found;
  }

  async #layerOf(mounts: string, containerId: string): Promise<string | undefined> {
    const key = `${mounts}/${containerId}`;
    const known = this.#layers.get(key);
    if (known !== undefined) return known;
    const layerId = await readDockerWord(join(key, "mount-id"));
    if (layerId !== undefined) this.#layers.set(key, layerId);
    return layerId;
  }
}
