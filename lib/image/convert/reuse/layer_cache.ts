/**
 * Records of converted layers: one small file each, named by layer and options.
 *
 * The record only identifies the blob, which stays where it was stored. A record that cannot be read is treated as
 * absent.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../../../base/errors.ts";
import { readJsonFile, writeJsonFile } from "../../../base/json_file.ts";
import { logger } from "../../../base/log.ts";
import { parseWith } from "../../../base/schema.ts";
import { sizeSchema } from "../../../oci/descriptor.ts";

const log = logger("image");

const RecordSchema = v.object({
  key: v.string(),
  blobId: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  blobBytes: sizeSchema,
  place: v.optional(v.object({ registry: v.string(), repository: v.string() })),
});

/** A layer that was converted. */
export type KnownLayer = Omit<v.InferOutput<typeof RecordSchema>, "key">;

/** Reads and writes the records in one folder. */
export class LayerCache {
  /** @param dir private to the user */
  constructor(private readonly dir: string) {}

  async find(key: string): Promise<KnownLayer | undefined> {
    try {
      const parsed = parseWith(RecordSchema, await readJsonFile(this.#path(key)));
      return parsed.ok && parsed.value.key === key ? parsed.value : undefined;
    } catch (error) {
      log.warn("record of a converted layer not used", { path: this.#path(key), reason: messageOf(error) });
      return undefined;
    }
  }

  /** Writes a record. A failure is ignored: it only costs another conversion later. */
  async record(key: string, layer: KnownLayer): Promise<void> {
    try {
      await Deno.mkdir(this.dir, { recursive: true, mode: 0o700 });
      await writeJsonFile(this.#path(key), { key, ...layer });
    } catch (error) {
      log.warn("converted layer not recorded", { path: this.#path(key), reason: messageOf(error) });
    }
  }

  #path(key: string): string {
    return join(this.dir, `${createHash("sha256").update(key).digest("hex")}.json`);
  }
}
