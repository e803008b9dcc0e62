/**
 * Maps layers to the Docker containers that own them: their names, to show who uses an image, and their commands.
 *
 * ```
 * <data-root>/image/<driver>/layerdb/mounts/<container>/mount-id   id of the container's own layer
 * <data-root>/containers/<container>/config.v2.json                {"Name": "/web", "Path": "nginx", "Args": ["-g", …], …}
 * ```
 * Source: moby 20.10 to 27, layer/filestore.go and container/container.go.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { ignore } from "../../base/errors.ts";
import { KeyedMutex } from "../../base/keyed_mutex.ts";
import { type Command, DEFAULT_PATH } from "../programs/command_files.ts";
import { containerRecords, readDockerJson, readDockerWord } from "./files.ts";

const Named = v.object({ Name: v.string() });
const Commanded = v.object({
  Path: v.string(),
  Args: v.nullish(v.array(v.string()), []),
  Config: v.object({ Env: v.nullish(v.array(v.string()), []), WorkingDir: v.nullish(v.string(), "") }),
});

/** Number of containers whose layer is remembered. It never changes. */
const CONTAINERS_REMEMBERED = 10_000;

/** A Docker container. */
export interface DockerContainer {
  readonly id: string;
  /** "web"; undefined if Docker's record cannot be read. */
  readonly name: string | undefined;
}

/** Finds containers by layer. */
export class DockerContainers {
  /** Layer by container, each with the folder of Docker's mounts. */
  readonly #layers = new LRUCache<string, string>({ max: CONTAINERS_REMEMBERED });
  /** The inverse: container by layer. */
  readonly #containers = new LRUCache<string, string>({ max: CONTAINERS_REMEMBERED });
  /** By folder of Docker's mounts. */
  readonly #learning = new KeyedMutex<string>();

  /**
   * Returns the containers that own these layers, by layer. Layers of builds and of containers being created have none.
   *
   * @param imageDir `<data-root>/image/<driver>`
   */
  async of(imageDir: string, layerIds: ReadonlySet<string>): Promise<Map<string, DockerContainer>> {
    const found = new Map<string, DockerContainer>();
    for await (const { id, layerId } of this.#owners(imageDir, layerIds)) {
      const config = await readDockerJson(Named, configPath(imageDir, id));
      found.set(layerId, { id, name: config?.Name.replace(/^\//, "") });
    }
    return found;
  }

  /**
   * Returns the command of the container that owns a layer; undefined if there is none, or Docker has not recorded it
   * yet. Looks at other containers only to find the owner, once.
   *
   * @param imageDir `<data-root>/image/<driver>`
   */
  async commandOf(imageDir: string, layerId: string): Promise<Command | undefined> {
    const id = await this.#ownerOf(imageDir, layerId);
    const container = id === undefined ? undefined : await readDockerJson(Commanded, configPath(imageDir, id));
    if (container === undefined) return undefined;
    const { Path: program, Args: args, Config: { Env: environment, WorkingDir: workingDir } } = container;
    const path = environment.findLast((each) => each.startsWith("PATH="))?.slice("PATH=".length);
    return { argv: [program, ...args], path: path ?? DEFAULT_PATH, workingDir: workingDir || "/" };
  }

  async #ownerOf(imageDir: string, layerId: string): Promise<string | undefined> {
    const mounts = containerRecords(imageDir);
    const known = () => this.#containers.get(`${mounts}/${layerId}`);
    // after a start all containers are asked about at once, and the first look tells of all
    return known() ?? await this.#learning.run(mounts, async () => known() ?? (await this.#learn(mounts), known()));
  }

  /** Looks which layers the containers have that are not known. */
  async #learn(mounts: string): Promise<void> {
    for (const id of await recordedContainers(mounts)) await this.#layerOf(mounts, id);
  }

  /** Yields the containers that own one of these layers. */
  async *#owners(
    imageDir: string,
    layerIds: ReadonlySet<string>,
  ): AsyncGenerator<{ readonly id: string; readonly layerId: string }> {
    if (layerIds.size === 0) return;
    const mounts = containerRecords(imageDir);
    for (const id of await recordedContainers(mounts)) {
      const layerId = await this.#layerOf(mounts, id);
      if (layerId !== undefined && layerIds.has(layerId)) yield { id, layerId };
    }
  }

  async #layerOf(mounts: string, containerId: string): Promise<string | undefined> {
    const key = `${mounts}/${containerId}`;
    const known = this.#layers.get(key);
    if (known !== undefined) return known;
    const layerId = await readDockerWord(join(key, "mount-id"));
    if (layerId === undefined) return undefined;
    this.#layers.set(key, layerId);
    this.#containers.set(`${mounts}/${layerId}`, containerId);
    return layerId;
  }
}

async function recordedContainers(mounts: string): Promise<string[]> {
  const entries = await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(mounts))) ?? [];
  return entries.map(({ name }) => name);
}

function configPath(imageDir: string, containerId: string): string {
  return join(dirname(dirname(imageDir)), "containers", containerId, "config.v2.json");
}
