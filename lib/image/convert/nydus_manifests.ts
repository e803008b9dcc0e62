/**
 * The documents of a converted image: for each platform a bootstrap-only manifest, then a manifest with all blobs.
 *
 * ```
 * index ─┬─ bootstrap-only: [bootstrap]                 what Docker pulls: the first that fits the platform
 *        └─ full:           [blob, …, bootstrap]        keeps the blobs in the registry; nydus-snapshotter's
 * ```
 * Media types and annotations are nydusify's. Configuration, annotations, platform requirements and subject are copied
 * from the source; history and diffIDs match the layers. Output is deterministic.
 *
 * @module
 */
import type { Descriptor } from "../../oci/descriptor.ts";
import { configOfOneLayer, createdOf, historyOf } from "../../oci/history.ts";
import { writtenPlatform } from "../../oci/index_entry.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION } from "../../oci/media_types.ts";
import type { Pack } from "../build/gzip_blocks.ts";
import { blobOfJson, descriptorOf, type ImageBlob, packedLayer } from "../build/image_builder.ts";
import type { ImageMemory } from "../../rafs/memory/image_memory.ts";
import type { SequentialImage } from "../../rafs/memory/sequential_image.ts";
import type { ConvertedLayer } from "./reuse/converted_layer.ts";
import { SOURCE_LAYER_ANNOTATION } from "./reuse/known_layers.ts";
import { BOOTSTRAP_HISTORY } from "./source/bootstrap_history.ts";
import type { SourceImage } from "./source/source_image.ts";

/** Annotations of a nydus manifest, as in nydusify. */
const MANIFEST_ANNOTATION = {
  fsVersion: "containerd.io/snapshot/nydus-fs-version",
  sourceDigest: "containerd.io/snapshot/nydus-source-digest",
} as const;

/** The entries of an index for one platform, and the blobs they need. */
export interface NydusImage {
  /** Blobs to store before the manifests. */
  readonly blobs: readonly ImageBlob[];
  readonly manifests: readonly ImageBlob[];
  /** Entries for the index. */
  readonly entries: readonly object[];
}

/** What a converted image consists of. */
export interface NydusImageParts {
  readonly layers: readonly ConvertedLayer[];
  /** Blobs with file data other than those of the layers. */
  readonly extraBlobs: readonly Pick<Descriptor, "digest" | "size">[];
  /** The tar of the bootstrap's layer, in pieces. */
  readonly bootstrapTar: readonly (Uint8Array | SequentialImage)[];
  readonly fsVersion: 5 | 6;
  /** Holds the bootstrap. */
  readonly memory: ImageMemory;
  /** Packs the tar. */
  readonly pack: Pack;
}

/** Builds the documents of one platform. */
export async function nydusImage(
  source: SourceImage,
  { layers, extraBlobs, bootstrapTar, fsVersion, memory, pack }: NydusImageParts,
): Promise<NydusImage> {
  const { layer: bootstrap, diffId } = await packedLayer(bootstrapTar, memory, pack);
  const data = [...layers.map(dataLayer), ...extraBlobs.map((blob) => dataLayer({ ...blob, blobBytes: blob.size }))];
  const bootstrapLayer = {
    ...descriptorOf(bootstrap),
    annotations: { [NYDUS_ANNOTATION.bootstrap]: "true", [NYDUS_ANNOTATION.fsVersion]: String(fsVersion) },
  };
  const history = historyOf(source.config);
  const created = createdOf(source.config);
  const last = { ...created, ...BOOTSTRAP_HISTORY };
  const small = blobOfJson(MEDIA_TYPE.ociConfig, configOfOneLayer(source.config, diffId, BOOTSTRAP_HISTORY));
  const fits = history.filter((item) => item.empty_layer !== true).length === data.length;
  const full = blobOfJson(MEDIA_TYPE.ociConfig, {
    ...source.config,
    rootfs: { type: "layers", diff_ids: [...data.map(({ digest }) => digest), diffId] },
    history: [...(fits ? history : data.map(() => ({ ...created, created_by: "nydus-gd convert" }))), last],
  });
  const bootstrapOnly = manifestOf(source, small, [bootstrapLayer], fsVersion);
  const whole = manifestOf(source, full, [...data, bootstrapLayer], fsVersion);
  const platform = writtenPlatform(source.platform);
  return {
    blobs: [bootstrap, small, full],
    manifests: [bootstrapOnly, whole],
    entries: [
      { ...descriptorOf(bootstrapOnly), platform },
      { ...descriptorOf(whole), platform, artifactType: MEDIA_TYPE.nydusManifest },
    ],
  };
}

/** Builds the index of all platforms. */
export function nydusIndex(entries: readonly object[], annotations: Readonly<Record<string, string>>): ImageBlob {
  return blobOfJson(MEDIA_TYPE.ociIndex, {
    ...{ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: entries },
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  });
}

function dataLayer(
  { digest, blobBytes, key, refersTo }: Pick<ConvertedLayer, "digest" | "blobBytes" | "refersTo"> & {
    readonly key?: string | undefined;
  },
) {
  const ref = refersTo === undefined ? {} : { [NYDUS_ANNOTATION.ociRef]: refersTo.digest };
  const source = key === undefined ? {} : { [SOURCE_LAYER_ANNOTATION]: key };
  return {
    mediaType: MEDIA_TYPE.nydusBlob,
    digest,
    size: blobBytes,
    annotations: { [NYDUS_ANNOTATION.blob]: "true", ...ref, ...source },
  };
}

function manifestOf(source: SourceImage, config: ImageBlob, layers: readonly object[], fsVersion: 5 | 6): ImageBlob {
  const { manifest } = source;
  const origin = manifest === undefined ? {} : { [MANIFEST_ANNOTATION.sourceDigest]: manifest.descriptor.digest };
  const annotations = {
    ...manifest?.parsed.annotations,
    [MANIFEST_ANNOTATION.fsVersion]: String(fsVersion),
    ...origin,
  };
  const subject = manifest?.parsed.subject;
  return blobOfJson(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: descriptorOf(config),
    layers,
    ...(subject ? { subject } : {}),
    annotations,
  });
}
