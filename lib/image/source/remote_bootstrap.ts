/**
 * Fetches the bootstrap of an image in a registry, without its data.
 *
 * @module
 */
import { getSmallBlob } from "../../backend/registry/manifest.ts";
import type { Repository } from "../../backend/registry/repository.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Manifest } from "../../oci/manifest.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import { DROP_INTERVAL_BYTES, type ImageMemory } from "../../rafs/memory/image_memory.ts";
import { type BootstrapLayer, readBootstrapLayerIn } from "./bootstrap_layer_reader.ts";
import { resolveImage } from "./resolve_image.ts";

/** Maximum size of a bootstrap layer in bytes. */
export const MAX_LAYER_BYTES = 1 << 30;

/** A bootstrap, its layer, and the manifest that lists it. */
export interface FetchedBootstrap {
  readonly manifest: Manifest;
  readonly layer: Descriptor;
  readonly bootstrap: Uint8Array;
}

/**
 * Fetches the bootstrap of `reference` for this machine.
 *
 * @param memory that holds the bootstrap
 * @throws {NydusGdError} "unsupported" for an image that is not a nydus image; what the registry answers
 */
export async function fetchBootstrap(
  repository: Repository,
  reference: Reference,
  signal: AbortSignal | undefined,
  memory: ImageMemory,
): Promise<FetchedBootstrap> {
  const { form, manifest } = await resolveImage({ repository, reference, platform: hostPlatform(), signal });
  if (form.kind !== "classic") {
    const { bootstrap: layer } = form;
    const fetched = await fetchBootstrapLayer(layer, repository, { signal, memory });
    if (fetched !== undefined) return { manifest, layer, bootstrap: fetched.bootstrap };
  }
  throw new NydusGdError("unsupported", `Cannot read image ${formatReference(reference)}: it is not a nydus image`, {
    hint: "convert it with nydus-gd convert, or run it as it is: ordinary images work beside lazy ones",
  });
}

/**
 * Fetches a layer and extracts its bootstrap; undefined if it has none. The compression is detected from the verified
 * bytes, not from the media type.
 *
 * @throws {NydusGdError} "invalid-image"; "unsupported" for zstd; what the registry answers
 */
export async function fetchBootstrapLayer(
  layer: Descriptor,
  repository: Repository,
  { signal, onProgress, memory }: {
    readonly signal: AbortSignal | undefined;
    /** Called with the number of bytes received so far. */
    readonly onProgress?: (bytes: number) => void;
    /** Holds the layer and the decompressed bootstrap. */
    readonly memory: ImageMemory;
  },
): Promise<BootstrapLayer | undefined> {
  let droppedAt = 0;
  const bytes = await getSmallBlob(repository, layer, {
    maxBytes: MAX_LAYER_BYTES,
    signal,
    memory: (sizeBytes) => memory.allocate(sizeBytes),
    onProgress: (_bytes, filled) => {
      onProgress?.(filled);
      if (filled > droppedAt && filled < droppedAt + DROP_INTERVAL_BYTES) return; // otherwise it is another attempt
      droppedAt = filled;
      memory.dropPages();
    },
  });
  return await readBootstrapLayerIn(memory, bytes, `layer ${layer.digest}`);
}
