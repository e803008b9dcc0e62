/**
 * Blob ids come out of images, so they are checked before they become part of a path or a URL.
 *
 * An id is what nydus allows: for registries the 64 hexadecimal digits of a sha256; for folders and buckets any name
 * without a slash that is no relative step.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** Bytes of the longest id: one file name. */
const MAX_ID_LENGTH = 255;

/**
 * The id itself, when it is safe as one component of a path.
 *
 * @throws {NydusGdError} "invalid-image"
 */
export function checkBlobName(id: string): string {
  // deno-lint-ignore no-control-regex
  if (id === "" || id === "." || id.includes("..") || /[/\\\x00-\x1f\x7f]/.test(id) || id.length > MAX_ID_LENGTH) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot use blob id ${JSON.stringify(id.slice(0, 80))}: it is no file name`,
    );
  }
  return id;
}

/**
 * The digest "sha256:…" of a blob in a registry, from its id.
 *
 * @throws {NydusGdError} "invalid-image"
 */
export function blobDigest(id: string): string {
  if (!/^[0-9a-f]{64}$/.test(id)) {
    throw new NydusGdError("invalid-image", `Cannot use blob id ${JSON.stringify(id.slice(0, 80))}: it is no sha256`);
  }
  return `sha256:${id}`;
}
