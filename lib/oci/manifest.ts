/**
 * Manifests and indexes: the blobs of an image, and the images of a name.
 *
 * ```ts
 * const document = parseManifestDocument(bytes, "application/vnd.oci.image.index.v1+json");
 * if (document.kind === "index") document.index.manifests;
 * ```
 * The OCI and Docker formats differ only in their media types and are parsed alike. Errors contain the path: `Cannot
 * read manifest: layers[2].digest is not a sha256 or sha512 digest`. Documents are never re-encoded, because the digest of
 * their bytes is their name. Sources: OCI image spec 1.1, manifest.md and image-index.md; Docker image manifest v2
 * schema 2.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../base/errors.ts";
import { formatPath, parseWith } from "../base/schema.ts";
import { annotationsSchema, type Descriptor, descriptorSchema, digestSchema } from "./descriptor.ts";
import { isIndexType, isManifestType, MEDIA_TYPE, NYDUS_ANNOTATION } from "./media_types.ts";

/** Maximum bytes of a manifest or index: nydus's limit for referrers lists. */
export const MAX_INDEX_BYTES = 8 << 20;
/** Maximum bytes of an image's configuration. */
export const MAX_IMAGE_CONFIG_BYTES = 8 << 20;
/** Maximum number of entries; no engine mounts this many layers. */
const MAX_ENTRIES = 4096;

/** Programs in Go write an empty list as null. */
const entries = v.pipe(
  v.nullable(v.array(descriptorSchema), []),
  v.maxLength(MAX_ENTRIES, `has more than ${MAX_ENTRIES} entries`),
);

const manifestSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.optional(v.string()),
  artifactType: v.optional(v.string()),
  config: descriptorSchema,
  layers: entries,
  subject: v.optional(v.nullable(descriptorSchema)),
  annotations: annotationsSchema,
});

const indexSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.optional(v.string()),
  artifactType: v.optional(v.string()),
  manifests: entries,
  subject: v.optional(v.nullable(descriptorSchema)),
  annotations: annotationsSchema,
});

const configSchema = v.object({
  architecture: v.optional(v.string(), ""),
  os: v.optional(v.string(), ""),
  variant: v.optional(v.string()),
  rootfs: v.object({ type: v.literal("layers"), diff_ids: v.nullable(v.array(digestSchema), []) }),
});

/** Manifest of one image. */
export type Manifest = v.InferOutput<typeof manifestSchema>;
/** Index: several images under one name. */
export type Index = v.InferOutput<typeof indexSchema>;
/** The part of an image's configuration that relates its layers. */
export type ImageConfig = v.InferOutput<typeof configSchema>;

/** A manifest or index, with its actual media type. */
export type ManifestDocument =
  | { readonly kind: "manifest"; readonly mediaType: string; readonly manifest: Manifest }
  | { readonly kind: "index"; readonly mediaType: string; readonly index: Index };

/**
 * Parses a manifest or an index.
 *
 * @param mediaType as sent by the server; parameters after ";" are ignored. If empty, the document's own type is used
 * @param name for messages: "manifest latest from registry example.org/app"
 * @throws {NydusGdError} "invalid-image"; "unsupported" for other kinds of documents
 */
export function parseManifestDocument(bytes: Uint8Array, mediaType = "", name?: string): ManifestDocument {
  const manifest = name ?? "manifest", index = name ?? "index";
  const document = parseJson(bytes, manifest);
  const served = mediaType.split(";", 1)[0]?.trim() ?? "";
  const stated = (document as { mediaType?: unknown }).mediaType;
  // If readers could interpret the same bytes differently, they could be made to run different images.
  const isOurs = (type: string) => isIndexType(type) || isManifestType(type);
  if (typeof stated === "string" && isOurs(served) && isOurs(stated) && isIndexType(served) !== isIndexType(stated)) {
    throw wrong(manifest, `it is served as ${served}, its mediaType is ${stated}`);
  }
  const type = isOurs(served) || typeof stated !== "string" ? served : stated;
  if (isIndexType(type)) {
    if ("layers" in document) throw wrong(index, "layers is not allowed");
    return { kind: "index", mediaType: type, index: accept(indexSchema, document, index) };
  }
  if (isManifestType(type)) {
    if ("manifests" in document) throw wrong(manifest, "manifests is not allowed");
    return { kind: "manifest", mediaType: type, manifest: accept(manifestSchema, document, manifest) };
  }
  throw new NydusGdError(
    "unsupported",
    `Cannot read ${manifest}: its media type ${JSON.stringify(type.slice(0, 100))} is not supported`,
  );
}

/**
 * Parses an image's configuration.
 *
 * @throws {NydusGdError} "invalid-image"
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  return accept(configSchema, parseJson(bytes, "image configuration"), "image configuration");
}

/** Bootstrap layer of a nydus manifest, undefined for an ordinary image. */
export function bootstrapLayer(manifest: Manifest): Descriptor | undefined {
  const last = manifest.layers.at(-1);
  return last?.annotations?.[NYDUS_ANNOTATION.bootstrap] === "true" ? last : undefined;
}

/** Types of an image's configuration. Docker accepts the last three, since old registries and clients stated them. */
const IMAGE_CONFIGS: ReadonlySet<string> = new Set([
  MEDIA_TYPE.ociConfig,
  MEDIA_TYPE.dockerConfig,
  MEDIA_TYPE.nydusConfig,
  "application/octet-stream",
  "application/json",
  "text/html",
]);

/**
 * Artifact type of a manifest that is not an image, such as a bill of materials or a Helm chart; undefined for an image.
 * If no type is stated, it is that of the configuration.
 */
export function artifactKind({ artifactType, config }: Manifest): string | undefined {
  return artifactType ?? (IMAGE_CONFIGS.has(config.mediaType) ? undefined : config.mediaType);
}

function parseJson(bytes: Uint8Array, what: string): object {
  if (bytes.length > MAX_INDEX_BYTES) throw wrong(what, `it is larger than ${MAX_INDEX_BYTES} bytes`);
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) throw wrong(what, "it is not valid JSON", error);
    throw error;
  }
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw wrong(what, "it is not an object");
  }
  return document;
}

function accept<S extends v.GenericSchema>(schema: S, document: unknown, what: string): v.InferOutput<S> {
  const result = parseWith(schema, document);
  if (!result.ok) throw wrong(what, `${formatPath(result.path)} ${result.state}`);
  return result.value;
}

function wrong(what: string, state: string, cause?: unknown): NydusGdError {
  return new NydusGdError("invalid-image", `Cannot read ${what}: ${state}`, { cause });
}
