/**
 * The bootstrap of an image in a registry, fetched without any of its data.
 *
 * ```
 * reference ──► index? the entry of this platform ──► manifest ──► bootstrap layer ──► image.boot
 * ```
 * A nydus manifest has the bootstrap as its last layer, marked by an annotation; a bootstrap-only image is that layer
 * alone.
 *
 * @module
 */
import type { Repository } from "../backend/registry/repository.ts";
import { getManifest, getSmallBlob } from "../backend/registry/manifest.ts";
import { NydusGdError } from "../base/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { bootstrapLayer, type Index, type Manifest } from "../oci/manifest.ts";
import { MEDIA_TYPE, NYDUS_OS_FEATURE } from "../oci/media_types.ts";
import { hostPlatform, matchesPlatform, type Platform } from "../oci/platform.ts";
import { formatReference, manifestName, type Reference } from "../oci/reference.ts";
import { bootstrapOfLayer, layerCompression } from "./bootstrap_layer_reader.ts";

/** Bytes of the largest bootstrap layer that is fetched. */
export const MAX_LAYER_BYTES = 1 << 30;

/** A bootstrap, and the manifest that lists it. */
export interface FetchedBootstrap {
  readonly manifest: Manifest;
  readonly bootstrap: Uint8Array;
}

/**
 * Fetches the bootstrap that `reference` names.
 *
 * @throws {NydusGdError} "unsupported" for an image that is not a nydus image; what the registry answers
 */
export async function fetchBootstrap(
  repository: Repository,
  reference: Reference,
  signal?: AbortSignal,
): Promise<FetchedBootstrap> {
  const manifest = await nydusManifest(repository, reference, signal);
  const layer = bootstrapLayer(manifest) ?? (manifest.layers.length === 1 ? manifest.layers[0] : undefined);
  const bootstrap = layer && await bootstrapIn(layer, repository, signal);
  if (bootstrap !== undefined) return { manifest, bootstrap };
  throw new NydusGdError("unsupported", `${cannotRead(reference)}: it is not a nydus image`, {
    hint: "convert it with nydusify, or run it as it is: ordinary images work beside lazy ones",
  });
}

/** The layer's media type is not asked: its bytes, which the digest covers, tell how they are compressed. */
async function bootstrapIn(
  layer: Descriptor,
  repository: Repository,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | undefined> {
  const bytes = await getSmallBlob(repository, layer, MAX_LAYER_BYTES, signal);
  return await bootstrapOfLayer(new Blob([bytes]).stream(), layerCompression(bytes), `layer ${layer.digest}`);
}

async function nydusManifest(
  repository: Repository,
  reference: Reference,
  signal: AbortSignal | undefined,
): Promise<Manifest> {
  const { document } = await getManifest(repository, manifestName(reference), signal);
  if (document.kind === "manifest") return document.manifest;
  const entry = entryOf(document.index);
  if (entry === undefined) {
    throw new NydusGdError("not-found", `${cannotRead(reference)}: nothing for this platform`);
  }
  const chosen = await getManifest(repository, entry.digest, signal);
  if (chosen.document.kind === "manifest") return chosen.document.manifest;
  throw new NydusGdError("invalid-image", `${cannotRead(reference)}: an index lists an index`);
}

/** Of the entries for this platform the one that is marked as nydus, else the first. */
function entryOf(index: Index): Descriptor | undefined {
  const host = hostPlatform();
  const fitting = index.manifests.filter(({ platform }) => !platform || isFor(host, platform));
  const isNydus = ({ artifactType, platform }: Descriptor) =>
    artifactType === MEDIA_TYPE.nydusManifest || platform?.["os.features"]?.includes(NYDUS_OS_FEATURE);
  return fitting.find(isNydus) ?? fitting[0];
}

/** Whether an entry is for this machine; what else it asks for is nydus's own mark. */
function isFor(
  host: Platform,
  { os, architecture, variant }: Pick<Platform, "os" | "architecture" | "variant">,
): boolean {
  return matchesPlatform(host, { os, architecture, ...(variant === undefined ? {} : { variant }) });
}

function cannotRead(reference: Reference): string {
  return `Cannot read bootstrap of ${formatReference(reference)}`;
}
