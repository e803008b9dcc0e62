/**
 * Docker's own records in its data-root, for people who look at layers: read as they are, without asking Docker, which may
 * be waiting for us just then.
 *
 * They are Docker's and change while it runs: what cannot be read counts as absent.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";

const log = logger("image");

/** Bytes of the largest file that is read. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;

/** What Docker has beside the layers of `home`, `<data-root>/<driver>`: `<data-root>/image/<driver>`. */
export function dockerImageDir(home: string): string {
  return join(dirname(home), "image", basename(home));
}

/** A JSON document of the form that is expected; undefined where there is none. */
export async function readDockerJson<S extends v.GenericSchema>(
  schema: S,
  path: string,
): Promise<v.InferOutput<S> | undefined> {
  return await attempt(path, async () => v.parse(schema, JSON.parse(await readDockerText(path))));
}

/** A text of one word; undefined where there is none. */
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
