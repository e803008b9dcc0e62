/**
 * Reads Docker's own records in its data-root directly, since Docker may be waiting for this driver and unable to
 * answer.
 *
 * The files belong to Docker and change while it runs. A file that cannot be read counts as absent.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";

const log = logger("image");

/** Maximum size of a file in bytes. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;

/** Returns the folder of Docker's image records, `<data-root>/image/<driver>`, for the home `<data-root>/<driver>`. */
export function dockerImageDir(home: string): string {
  return join(dirname(home), "image", basename(home));
}

/** Returns the folder of the records of images' layers, each named by its chain id. */
export function layerRecords(imageDir: string): string {
  return join(imageDir, "layerdb", "sha256");
}

/** Returns the folder of the records of containers, each named by its ID. */
export function containerRecords(imageDir: string): string {
  return join(imageDir, "layerdb", "mounts");
}

/** Returns the folder of the configurations of images, each a file named by the digits of its digest. */
export function imageConfigs(imageDir: string): string {
  return join(imageDir, "imagedb", "content", "sha256");
}

const ImageConfig = v.object({ rootfs: v.optional(v.object({ diff_ids: v.optional(v.array(v.string()), []) })) });

/** Returns the diffIDs of an image's layers, lowest first; undefined if its configuration cannot be read. */
export async function diffIdsOf(configPath: string): Promise<readonly string[] | undefined> {
  const config = await readDockerJson(ImageConfig, configPath);
  return config && (config.rootfs?.diff_ids ?? []);
}

/** Reads a JSON file of the given schema; undefined if it is absent or invalid. */
export async function readDockerJson<S extends v.GenericSchema>(
  schema: S,
  path: string,
): Promise<v.InferOutput<S> | undefined> {
  return await attempt(path, async () => v.parse(schema, JSON.parse(await readDockerText(path))));
}

/** Reads a file of one word; undefined if it is absent or empty. */
export async function readDockerWord(path: string): Promise<string | undefined> {
  return await attempt(path, async () => (await readDockerText(path)).trim() || undefined);
}

async function readDockerText(path: string): Promise<string> {
  const { size } = await Deno.stat(path);
  if (size > MAX_FILE_BYTES) throw new RangeError(`it is larger than ${MAX_FILE_BYTES} bytes`);
  return await Deno.readTextFile(path);
}

async function attempt<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    log.debug("Docker's file not read", { path, reason: messageOf(error) });
    return undefined;
  }
}
