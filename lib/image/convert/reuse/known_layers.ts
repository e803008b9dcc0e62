/**
 * Records of converted layers in the image that the target's name refers to: what each blob was made from.
 *
 * @module
 */
import { hasCode, messageOf } from "../../../base/errors.ts";
import { logger } from "../../../base/log.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { digestAlgorithm, digestHex } from "../../../oci/digest.ts";
import { type Manifest, parseManifestDocument } from "../../../oci/manifest.ts";
import type { ImageContent, ImageDocument } from "../source/image_content.ts";
import type { ImageTarget } from "../target/image_target.ts";
import type { KnownLayer } from "./layer_cache.ts";

const log = logger("image");

/** On a data blob: the layer and options that it was made from, so that it need not be converted again. */
export const SOURCE_LAYER_ANNOTATION = "io.github.nydus-gd.source-layer";

/** Maximum depth of nested indexes. */
const MAX_DEPTH = 2;

/** Layer records of the image that the target's name currently refers to. */
export async function knownLayers(target: ImageTarget, signal: AbortSignal): Promise<ReadonlyMap<string, KnownLayer>> {
  const known = new Map<string, KnownLayer>();
  const content = await target.present(signal);
  if (content === undefined) return known;
  try {
    for await (const { layers } of manifestsOf(content, await content.named(signal), MAX_DEPTH, signal)) {
      for (const [source, layer] of layers.flatMap(knownLayer)) known.set(source, layer);
    }
  } catch (error) {
    if (!hasCode(error, "not-found", "invalid-image", "unsupported")) throw error;
    log.warn("layers of the target's current image not reused", { reason: messageOf(error) });
  }
  return known;
}

/** The record of one layer with what it was made from; none if it does not say. */
function knownLayer({ digest, size, annotations }: Descriptor): [source: string, layer: KnownLayer][] {
  const source = annotations?.[SOURCE_LAYER_ANNOTATION];
  if (source === undefined || digestAlgorithm(digest) !== "sha256") return [];
  return [[source, { blobId: digestHex(digest), blobBytes: size, places: [] }]];
}

/** Yields the manifests among the documents, and those of their indexes down to `depth`. */
async function* manifestsOf(
  content: ImageContent,
  documents: readonly ImageDocument[],
  depth: number,
  signal: AbortSignal,
): AsyncGenerator<Manifest> {
  for (const { bytes, mediaType } of documents) {
    const parsed = parseManifestDocument(bytes, mediaType, `manifest of ${content.description}`);
    if (parsed.kind === "manifest") yield parsed.manifest;
    else if (depth > 0) {
      for (const entry of parsed.index.manifests) {
        yield* manifestsOf(content, [await content.document(entry, signal)], depth - 1, signal);
      }
    }
  }
}
