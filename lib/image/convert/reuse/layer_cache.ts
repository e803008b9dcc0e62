/**
 * Records of converted layers: one small file each, named by layer and options.
 *
 * The record only identifies the blob, which stays where it was stored, and the repositories that got it last. A record
 * that cannot be read is treated as absent.
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
import type { RepositoryPlace } from "../source/image_content.ts";

const log = logger("image");

/** Maximum repositories in a record: each that is in the target's registry may cost a request. */
const MAX_PLACES = 8;

const RecordSchema = v.object({
  key: v.string(),
  blobId: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  blobBytes: sizeSchema,
  /** The latest first. */
  places: v.optional(v.array(v.object({ registry: v.string(), repository: v.string() })), []),
});

/** A layer that was converted. */
export type KnownLayer = Omit<v.InferOutput<typeof RecordSchema>, "key">;

/** The blob of a {@link KnownLayer}. */
export type KnownBlob = Omit<KnownLayer, "places">;

/** Reads and writes the records in one folder. */
export class LayerCache {
  /** @param dir private to the user */
  constructor(private readonly dir: string) {}

  async find(key: string): Promise<KnownLayer | undefined> {
    try {
      const parsed = parseWith(RecordSchema, await readJsonFile(this.#path(key)));
      if (!parsed.ok || parsed.value.key !== key) return undefined;
      const { blobId, blobBytes, places } = parsed.value;
      return { blobId, blobBytes, places };
    } catch (error) {
      log.warn("record of a converted layer not used", { path: this.#path(key), reason: messageOf(error) });
      return undefined;
    }
  }

  /**
   * Records the blob, and where it is now besides the places that are known. A failure is ignored: it only costs another
   * conversion later.
   *
   * @param place undefined if it is not in a registry
   */
  async record(key: string, blob: KnownBlob, place: RepositoryPlace | undefined): Promise<void> {
    try {
      const { blobId, blobBytes } = blob;
      const before = await this.find(key);
      const known = before?.blobId === blobId ? before.places : [];
      const [latest] = known;
      if (place !== undefined && latest !== undefined && isSame(latest, place)) return;
      const places = place === undefined ? known : [place, ...known.filter((each) => !isSame(each, place))];
      await Deno.mkdir(this.dir, { recursive: true, mode: 0o700 });
      await writeJsonFile(this.#path(key), { key, blobId, blobBytes, places: places.slice(0, MAX_PLACES) });
    } catch (error) {
      log.warn("converted layer not recorded", { path: this.#path(key), reason: messageOf(error) });
    }
  }

  #path(key: string): string {
    return join(this.dir, `${createHash("sha256").update(key).digest("hex")}.json`);
  }
}

function isSame(one: RepositoryPlace, other: RepositoryPlace): boolean {
  return one.registry === other.registry && one.repository === other.repository;
}
