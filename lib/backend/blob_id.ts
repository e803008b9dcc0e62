/**
 * Validation of blob IDs. They come from images and become part of a path or a URL.
 *
 * The rules are nydus's: in a registry an ID is the 64 hexadecimal digits of a sha256; in folders and buckets it is any
 * name without a slash or "..".
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** Maximum length of an ID: that of a file name. */
const MAX_ID_LENGTH = 255;

/**
 * Returns `id` if it is safe as a single path component.
 *
 * @throws {NydusGdError} "invalid-image"
 */
export function checkBlobName(id: string): string {
  // deno-lint-ignore no-control-regex
  if (id === "" || id === "." || id.includes("..") || /[/\\\x00-\x1f\x7f]/.test(id) || id.length > MAX_ID_LENGTH) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot use blob id ${JSON.stringify(id.slice(0, 80))}: it is not a file name`,
    );
  }
  return id;
}

/**
 * Returns the digest "sha256:…" of the registry blob `id`.
 *
 * @throws {NydusGdError} "invalid-image"
 */
export function blobDigest(id: string): string {
  if (!/^[0-9a-f]{64}$/.test(id)) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot use blob id ${JSON.stringify(id.slice(0, 80))}: it is not a sha256 digest`,
    );
  }
  return `sha256:${id}`;
}
