/**
 * Descriptors: media type, size and digest of a piece of content. Source: OCI image spec 1.1, descriptor.md.
 *
 * @module
 */
import * as v from "valibot";
import { type Digest, isDigest } from "./digest.ts";

/** A map from string to string. */
export const annotationsSchema = v.optional(v.nullable(v.record(v.string(), v.string())));

/** A digest of a registered algorithm. */
export const digestSchema = v.pipe(
  v.string(),
  v.check((text) => isDigest(text), "is not a sha256 or sha512 digest"),
  v.transform((text) => text as Digest),
);

/** Size in bytes. */
export const sizeSchema = v.pipe(
  v.number(),
  v.safeInteger("is not an integer below 2^53"),
  v.minValue(0, "is negative"),
);

/** Only the keys used here; others are dropped. */
const platformSchema = v.object({
  os: v.string(),
  architecture: v.string(),
  variant: v.optional(v.string()),
  "os.version": v.optional(v.string()),
  "os.features": v.optional(v.nullable(v.array(v.string()))),
});

/** Schema of a descriptor. */
export const descriptorSchema = v.object({
  mediaType: v.string(),
  digest: digestSchema,
  size: sizeSchema,
  annotations: annotationsSchema,
  artifactType: v.optional(v.string()),
  platform: v.optional(v.nullable(platformSchema)),
  urls: v.optional(v.nullable(v.array(v.string()))),
});

/** Media type, size and digest of a piece of content. */
export type Descriptor = v.InferOutput<typeof descriptorSchema>;
