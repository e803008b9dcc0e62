/**
 * Persistent record of the mounted images, which a successor of this process has to keep serving.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import * as v from "valibot";
import { readJsonFile, writeJsonFile } from "../../../base/json_file.ts";
import { logger } from "../../../base/log.ts";
import type { LazyLayer } from "../../../layer/lazy/lazy_images.ts";
import { DATA_PATHS, type FsDriver } from "../../../mount/data_path.ts";

const log = logger("image");

const State = v.array(
  v.object({
    id: v.string(),
    bootstrapPath: v.string(),
    diffId: v.exactOptional(v.string()),
    home: v.string(),
    reference: v.exactOptional(v.string()),
    fsDriver: v.optional(v.picklist(DATA_PATHS), "fuse"),
    isSuspect: v.optional(v.boolean(), false),
    number: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  }),
);

/** A layer, and the data path of its mounted image. */
export interface RecordedLayer extends LazyLayer {
  readonly fsDriver: FsDriver;
  /** Whether programs may have read zeros from it while its files were not watched. */
  readonly isSuspect: boolean;
  /** Its number in node IDs, as image_numbers.ts has it. Absent in records of older versions. */
  readonly number?: number;
}

/** What {@link MountRecord.add} records besides the layer. */
export type MountFacts = Pick<RecordedLayer, "fsDriver" | "isSuspect"> & { readonly number: number };

/** Path of the record in the state folder of a daemon. */
export function mountRecordPath(stateDir: string): string {
  return `${stateDir}/mounted-images.json`;
}

/**
 * The layers whose images are mounted. Changes survive this process once resolved, but not a reboot, as with mounts.
 */
export class MountRecord {
  readonly #layers: Map<string, RecordedLayer>;

  private constructor(
    private readonly path: string,
    layers: readonly RecordedLayer[],
    /** Whether there is a file: some image was mounted before. */
    readonly wasUsed: boolean,
    /** Whether it does not tell what is mounted: the file is damaged, or there is none. */
    readonly isLost: boolean,
  ) {
    this.#layers = new Map(layers.map((layer) => [layer.id, layer]));
  }

  /** Reads the record. A damaged one is empty: what is mounted has to be found again (found_images.ts). */
  static async open(path: string): Promise<MountRecord> {
    const document = await readJsonFile(path).catch((error) => {
      if (!(error instanceof SyntaxError)) throw error;
      return error.message;
    });
    const state = v.safeParse(State, document ?? []);
    if (!state.success) log.warn("record of mounted images is damaged", { path, reason: state.issues[0].message });
    const wasUsed = document !== undefined;
    const isLost = !wasUsed || !state.success;
    return new MountRecord(path, state.success ? state.output : [], wasUsed, isLost);
  }

  /** Returns the mounted images, including those of the previous process. */
  list(): RecordedLayer[] {
    return [...this.#layers.values()];
  }

  /** Returns the numbers of the mounted images, by layer ID. */
  numbers(): Map<string, number> {
    return new Map(this.list().flatMap(({ id, number }) => number === undefined ? [] : [[id, number]]));
  }

  /**
   * Writes nothing if that is recorded already.
   *
   * @throws {Error} if it cannot be written; the layer is then not added
   */
  async add(layer: LazyLayer, facts: MountFacts): Promise<void> {
    const earlier = this.#layers.get(layer.id);
    const recorded = { ...layer, ...facts };
    if (isDeepStrictEqual(recorded, earlier)) return;
    this.#layers.set(layer.id, recorded);
    try {
      await this.#write();
    } catch (error) {
      if (earlier === undefined) this.#layers.delete(layer.id);
      else this.#layers.set(layer.id, earlier);
      throw error;
    }
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
