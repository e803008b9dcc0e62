/**
 * Parser of the image list in an archive written by `docker save`.
 *
 * ```
 * manifest.json      [{"Config": "…", "RepoTags": ["NAME:TAG"], "Layers": ["…/layer.tar", …]}]
 * ```
 * Layers are tars, usually uncompressed, whose diffIDs are in the configuration. Docker 25 and later add the same list
 * to an OCI layout, which may list content that is not in the archive. Source: moby image/spec v1.2.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../base/errors.ts";
import { parseJsonText } from "../../base/json_text.ts";
import { formatPath, parseWith } from "../../base/schema.ts";
import { MAX_INDEX_BYTES } from "../../oci/manifest.ts";
import { SAVED_IMAGES } from "./archive_names.ts";
import type { ImageArchive } from "./image_archive.ts";

const savedSchema = v.array(v.object({
  Config: v.string(),
  RepoTags: v.optional(v.nullable(v.array(v.string()))),
  Layers: v.optional(v.nullable(v.array(v.string())), []),
}));

/** An image, as names of files in the archive. */
export interface SavedImage {
  readonly config: string;
  /** Lowest first. */
  readonly layers: readonly string[];
}

/**
 * Returns the requested image; undefined for an archive not written by Docker.
 *
 * @throws {NydusGdError} "not-found" for an unknown name, "usage" if no name is given and there are several images,
 * "invalid-image"
 */
export async function savedImage(
  { archive, name }: ImageArchive,
  signal: AbortSignal,
): Promise<SavedImage | undefined> {
  if (!archive.has(SAVED_IMAGES)) return undefined;
  const text = new TextDecoder().decode(await archive.read(SAVED_IMAGES, MAX_INDEX_BYTES, signal));
  const parsed = parseWith(savedSchema, parseJsonText(text));
  if (!parsed.ok) {
    const state = `${SAVED_IMAGES}: ${formatPath(parsed.path)} ${parsed.state}`;
    throw new NydusGdError("invalid-image", `Cannot read archive ${archive.path}: ${state}`);
  }
  const images = parsed.value;
  const found = name === undefined
    ? images
    : images.filter(({ RepoTags }) => RepoTags?.some((tag) => isTag(tag, name)));
  const names = images.flatMap(({ RepoTags }) => RepoTags ?? []);
  const [image] = found;
  if (image === undefined) {
    const has = names.length === 0 ? "it has no names" : `it has ${names.join(", ")}`;
    throw new NydusGdError("not-found", `Cannot read image ${name} of archive ${archive.path}: ${has}`);
  }
  if (found.length > 1) {
    throw new NydusGdError("usage", `Cannot read archive ${archive.path}: it has ${found.length} images`, {
      hint: `name one: ${names.map((tag) => `tar:${archive.path}:${tag}`).join(" or ")}`,
    });
  }
  return { config: image.Config, layers: image.Layers ?? [] };
}

/** Whether `name` is the whole tag "app:1" or only its last part, "1". */
function isTag(tag: string, name: string): boolean {
  return tag === name || tag.endsWith(`:${name}`);
}
