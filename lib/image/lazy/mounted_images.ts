/**
 * Which images are mounted, on disk: what a successor of this process has to go on serving.
 *
 * @module
 */
import * as v from "valibot";
import { readJsonFile, writeJsonFile } from "../../base/json_file.ts";
import { logger } from "../../base/log.ts";
import type { LazyLayer } from "../../layer/lazy_images.ts";
import { DATA_PATHS, type FsDriver } from "../../mount/choose.ts";

const log = logger("image");

const State = v.array(
  v.object({
    id: v.string(),
    bootstrapPath: v.string(),
    diffId: v.exactOptional(v.string()),
    home: v.string(),
    fsDriver: v.optional(v.picklist(DATA_PATHS), "fuse"),
    isSuspect: v.optional(v.boolean(), false),
  }),
);

/** A layer, and the data path by which its image is mounted. */
export interface RecordedLayer extends LazyLayer {
  readonly fsDriver: FsDriver;
  /** For a while nobody watched over it: programs may have read zeros. */
  readonly isSuspect: boolean;
}

/** The layers whose images are mounted. Every change outlives this process when it resolves; no mount outlives a reboot. */
export class MountedImages {
  readonly #layers: Map<string, RecordedLayer>;

  private constructor(private readonly path: string, layers: readonly RecordedLayer[]) {
    this.#layers = new Map(layers.map((layer) => [layer.id, layer]));
  }

  /** Reads the record. One that is damaged counts as empty: what it told of is then out of reach, not wrong. */
  static async open(path: string): Promise<MountedImages> {
    const document = await readJsonFile(path).catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      return error.message;
    });
    const state = v.safeParse(State, document ?? []);
    if (!state.success) log.warn("record of mounted images is damaged", { path, reason: state.issues[0].message });
    return new MountedImages(path, state.success ? state.output : []);
  }

  /** Those that are mounted, or were when the process before this one ended. */
  list(): RecordedLayer[] {
    return [...this.#layers.values()];
  }

  async add(layer: LazyLayer, fsDriver: FsDriver, isSuspect = false): Promise<void> {
    this.#layers.set(layer.id, { ...layer, fsDriver, isSuspect });
    await this.#write();
  }

  async remove(layerId: string): Promise<void> {
    if (this.#layers.delete(layerId)) await this.#write();
  }

  async clear(): Promise<void> {
    if (this.#layers.size === 0) return;
    this.#layers.clear();
    await this.#write();
  }

  async #write(): Promise<void> {
    await writeJsonFile(this.path, this.list(), "process");
  }
}
