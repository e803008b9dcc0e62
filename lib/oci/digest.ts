/**
 * Digests: `<algorithm>:<hex>`, the name of content by what it is.
 *
 * Source: OCI image spec, descriptor.md. Only sha256 and sha512 are registered; lower-case hexadecimal.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** Hexadecimal digits of each algorithm. */
const HEX_LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** A digest that was checked: "sha256:" and 64 digits, or "sha512:" and 128. */
export type Digest = string & { readonly __digest: unique symbol };

/** True for a well-formed digest of a registered algorithm. */
export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(":");
  const length = Object.hasOwn(HEX_LENGTHS, text.slice(0, colon)) ? HEX_LENGTHS[text.slice(0, colon)] : undefined;
  return length !== undefined && text.length === colon + 1 + length && /^[0-9a-f]+$/.test(text.slice(colon + 1));
}

/**
 * The same text as a {@link Digest}.
 *
 * @throws {NydusGdError} "invalid-image"
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  const colon = text.indexOf(":");
  const state = colon < 0
    ? "it has no algorithm"
    : Object.hasOwn(HEX_LENGTHS, text.slice(0, colon))
    ? `it does not have ${HEX_LENGTHS[text.slice(0, colon)]} lower-case hexadecimal digits`
    : "its algorithm is neither sha256 nor sha512";
  throw new NydusGdError("invalid-image", `Cannot parse digest ${JSON.stringify(text.slice(0, 160))}: ${state}`);
}

/** "sha256", "sha512". */
export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(":"));
}

/** The hexadecimal part: a nydus blob id. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** "sha256:" and these digits. */
export function sha256Digest(hex: string): Digest {
  return parseDigest(`sha256:${hex}`);
}
