/**
 * Digests: `<algorithm>:<hex>`, content addresses.
 *
 * Source: OCI image spec, descriptor.md. Only sha256 and sha512 are registered; lower-case hexadecimal.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** Number of hexadecimal digits by algorithm. */
const HEX_LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 };

/** A validated digest: "sha256:" and 64 digits, or "sha512:" and 128. */
export type Digest = string & { readonly __digest: unique symbol };

/** Whether the text is a well-formed digest of a registered algorithm. */
export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(":");
  const length = Object.hasOwn(HEX_LENGTHS, text.slice(0, colon)) ? HEX_LENGTHS[text.slice(0, colon)] : undefined;
  return length !== undefined && text.length === colon + 1 + length && /^[0-9a-f]+$/.test(text.slice(colon + 1));
}

/**
 * Validates a digest.
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

/** Returns "sha256" or "sha512". */
export function digestAlgorithm(digest: Digest): string {
  return digest.slice(0, digest.indexOf(":"));
}

/** Hexadecimal part of a digest, which is a nydus blob id. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** Builds a sha256 digest from hexadecimal digits. */
export function sha256Digest(hex: string): Digest {
  return parseDigest(`sha256:${hex}`);
}
