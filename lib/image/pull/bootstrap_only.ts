/**
 * The image that Docker gets of a standard nydus image: its configuration, and one layer with the bootstrap and the
 * origin of its blobs.
 *
 * Deterministic: the same image of the same repository gives the same ids on every machine.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { parseJsonText } from "../../base/json_text.ts";
import type { Digest } from "../../oci/digest.ts";
import { ORDINARY_MEMORY } from "../../rafs/image_memory.ts";
import type { BlobOrigin } from "../blob_origin.ts";
import type { BootstrapLayer } from "../source/bootstrap_layer_reader.ts";
import { imageArchive } from "../docker/image_archive.ts";
import { bootstrapLayerPieces, digestOf, digestOfPieces } from "../image_builder.ts";

/** An image that can be loaded. */
export interface BootstrapOnlyImage {
  /** For `docker load`, in pieces. */
  readonly archive: readonly Uint8Array[];
  /** What Docker will call it: the digest of its configuration. */
  readonly id: string;
  /** Digest of its layer's tar. */
  readonly diffId: Digest;
}

/** What Docker counts as a layer in an image's history. */
export const PULLED_HISTORY = "nydus-gd pull";

/**
 * Makes the image.
 *
 * @param origin undefined: the layer says nothing of its blobs, a configured backend has them
 * @param config the configuration as it came, what the image runs as
 * @param name NAME:TAG
 * @param memory of the layer
 * @throws {NydusGdError} "invalid-image" for a configuration that is none
 */
export function bootstrapOnlyImage(
  { bootstrap, metas }: BootstrapLayer,
  origin: BlobOrigin | undefined,
  config: Uint8Array,
  name: string,
  memory = ORDINARY_MEMORY,
): BootstrapOnlyImage {
  const layerTar = bootstrapLayerPieces(bootstrap, origin, metas);
  const diffId = digestOfPieces(layerTar, memory);
  const own = new TextEncoder().encode(JSON.stringify(configFor(config, diffId)));
  return { archive: imageArchive(own, layerTar, diffId, name), id: digestOf(own), diffId };
}

/** All that the configuration says, on other layers. The history of the old ones stays, as of steps without a layer. */
function configFor(config: Uint8Array, diffId: Digest): Record<string, unknown> {
  const document = parseObject(config);
  const before = Array.isArray(document.history) ? document.history.filter(isObject) : [];
  return {
    ...document,
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [...before.map((step) => ({ ...step, empty_layer: true })), { created_by: PULLED_HISTORY }],
  };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  const document = parseJsonText(new TextDecoder().decode(bytes));
  if (isObject(document)) return document;
  throw new NydusGdError("invalid-image", "Cannot read image configuration: it is no JSON object");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
