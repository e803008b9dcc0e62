/**
 * The image that Docker gets for a standard nydus image: its configuration, and one layer with the bootstrap and the
 * origin of its blobs.
 *
 * Deterministic: the same image of the same repository gives the same ids on every machine.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { parseJsonText } from "../../base/json_text.ts";
import type { Digest } from "../../oci/digest.ts";
import type { ImageMemory } from "../../rafs/memory/image_memory.ts";
import { configOfOneLayer } from "../../oci/history.ts";
import type { BlobOrigin } from "../build/blob_origin.ts";
import type { BootstrapLayer } from "../source/bootstrap_layer_reader.ts";
import { imageArchive } from "../docker/image_archive.ts";
import { bootstrapLayerPieces, digestOf, digestOfPieces } from "../build/image_builder.ts";

/** An image ready for `docker load`. */
export interface BootstrapOnlyImage {
  /** Input of `docker load`, in pieces. */
  readonly archive: readonly Uint8Array[];
  /** Docker's image id: the digest of its configuration. */
  readonly id: string;
  /** Digest of its layer's tar. */
  readonly diffId: Digest;
}

/** History entry of the layer. */
export const PULLED_HISTORY = "nydus-gd pull";

/** What the image is built from. */
export interface BootstrapOnlyParts {
  readonly layer: BootstrapLayer;
  /** Undefined: the layer does not record where its blobs are; a configured backend has them. */
  readonly origin: BlobOrigin | undefined;
  /** The image's original configuration. */
  readonly config: Uint8Array;
  /** NAME:TAG. */
  readonly name: string;
  /** Holds the layer. */
  readonly memory: ImageMemory;
}

/**
 * Builds the image.
 *
 * @throws {NydusGdError} "invalid-image" for an invalid configuration
 */
export function bootstrapOnlyImage(
  { layer: { bootstrap, metas }, origin, config, name, memory }: BootstrapOnlyParts,
): BootstrapOnlyImage {
  const layerTar = bootstrapLayerPieces(bootstrap, origin, metas);
  const diffId = digestOfPieces(layerTar, memory);
  const own = new TextEncoder().encode(
    JSON.stringify(configOfOneLayer(parseObject(config), diffId, { created_by: PULLED_HISTORY })),
  );
  return { archive: imageArchive(own, layerTar, diffId, name), id: digestOf(own), diffId };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  const document = parseJsonText(new TextDecoder().decode(bytes));
  if (isObject(document)) return document;
  throw new NydusGdError("invalid-image", "Cannot read image configuration: it is not a JSON object");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
