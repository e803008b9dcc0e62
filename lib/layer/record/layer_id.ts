/**
 * Valid names of layers.
 *
 * Docker uses 64 hexadecimal digits, optionally with `-init`, and BuildKit 25 characters. An id becomes the name of a
 * folder in the home, so it is a single path component, never hidden (dot names are the store's own) and never `l`, the
 * folder of links.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";

const LAYER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const LINKS_FOLDER = "l";

/** Whether `id` can name a layer. */
export function isLayerId(id: string): boolean {
  return LAYER_ID.test(id) && id !== LINKS_FOLDER;
}

/**
 * Returns the id if it is valid.
 *
 * @throws {NydusGdError} "usage" for paths, the empty name and other names that no layer has
 */
export function layerId(id: string): string {
  if (isLayerId(id)) return id;
  throw new NydusGdError("usage", `Cannot use layer id ${JSON.stringify(id.slice(0, 140))}: not a plain name`);
}

/** Docker's own layer between image and container: empty mount points, which the runtime recreates if needed. */
export function isInitLayer(id: string): boolean {
  return id.endsWith("-init");
}
