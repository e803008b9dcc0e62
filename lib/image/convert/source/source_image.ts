/**
 * Source images of a conversion: configuration, and layers that provide their entries.
 *
 * @module
 */
import * as v from "valibot";
import { NydusGdError } from "../../../base/errors.ts";
import { formatPath, parseWith } from "../../../base/schema.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import type { Digest } from "../../../oci/digest.ts";
import { isAttestationOf } from "../../../oci/index_entry.ts";
import {
  artifactKind,
  bootstrapLayer,
  type Index,
  type Manifest,
  MAX_IMAGE_CONFIG_BYTES,
  parseImageConfig,
  parseManifestDocument,
} from "../../../oci/manifest.ts";
import { MEDIA_TYPE, NYDUS_ANNOTATION, NYDUS_OS_FEATURE } from "../../../oci/media_types.ts";
import { formatPlatform, matchesPlatform, type Platform } from "../../../oci/platform.ts";
import { digestOf } from "../../build/image_builder.ts";
import { streamBlob } from "../../source/blob_stream.ts";
import { type Entries, fromLayer } from "../layer/build_layer.ts";
import type { GzipWalk } from "../chunks/gzip_walk.ts";
import { UnreferableError } from "../chunks/unreferable.ts";
import { type BlobHome, type ImageContent, type ImageDocument, unconvertible } from "./image_content.ts";
import { counted, type OnBytes } from "../../source/counted.ts";
import { type LayerDecoder, tarOfLayer } from "../../source/layer_tar.ts";

/** Maximum depth of nested indexes. */
const MAX_DEPTH = 4;

/** One layer. */
export interface SourceLayer {
  /** For messages: "layer sha256:…", "folder /srv/rootfs". */
  readonly what: string;
  /** Identifies the content; undefined if known only after reading. */
  readonly diffId: Digest | undefined;
  /** Bytes to read, if known. */
  readonly size: number | undefined;
  /** If false, names that look like whiteouts are ordinary files. */
  readonly hasWhiteouts: boolean;
  /** Where its data are stored, as an image could refer to them; undefined if there is no such blob. */
  readonly stored?: OriginalLayer | undefined;
  /**
   * Provides the entries; may be called again.
   *
   * @param walk inflates the layer; with it, the layer must be gzip
   */
  entries(onBytes: OnBytes, signal: AbortSignal, walk?: GzipWalk): Entries;
}

/** A layer as the original image has it. */
export interface OriginalLayer {
  readonly blob: { readonly digest: Digest; readonly size: number };
  readonly home: BlobHome;
}

/** One image for one platform. */
export interface SourceImage {
  readonly platform: Platform;
  /** The configuration as parsed JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly layers: readonly SourceLayer[];
  /** The manifest, for images that have one. */
  readonly manifest: SourceManifest | undefined;
}

/** The manifest of a source image. */
export interface SourceManifest {
  readonly document: ImageDocument;
  readonly descriptor: Descriptor;
  readonly parsed: Manifest;
  readonly content: ImageContent;
  /** Entries of its index that are about it. */
  readonly attestations: readonly Descriptor[];
  /** Annotations of its index. */
  readonly indexAnnotations: Readonly<Record<string, string>>;
}

const LAYER_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPE.ociLayer,
  MEDIA_TYPE.ociLayerGzip,
  MEDIA_TYPE.ociLayerZstd,
  MEDIA_TYPE.dockerLayer,
  MEDIA_TYPE.dockerLayerGzip,
  "application/vnd.docker.image.rootfs.diff.tar.zstd",
]);

/** Layers that registries may not distribute: they are referred to by URL. */
const FOREIGN = /foreign|nondistributable/;

const configObject = v.record(v.string(), v.unknown());

/** The parsed parts of an image's configuration, and all of it. */
export interface SourceConfig extends Pick<SourceImage, "platform" | "config"> {
  /** diffIDs of the layers, lowest first. */
  readonly diffIds: readonly Digest[];
}

/**
 * Parses the configuration of an image.
 *
 * @param layerCount number of layers in the manifest
 * @param description of the image, for messages
 * @throws {NydusGdError} "invalid-image"
 */
export function readConfig(bytes: Uint8Array, layerCount: number, description: string): SourceConfig {
  const { architecture, os, variant, rootfs: { diff_ids: diffIds } } = parseImageConfig(bytes);
  const config = parseWith(configObject, JSON.parse(new TextDecoder().decode(bytes)));
  if (!config.ok) {
    throw new NydusGdError(
      "invalid-image",
      `Cannot read image configuration: ${formatPath(config.path)} ${config.state}`,
    );
  }
  if (diffIds.length !== layerCount) {
    const state = `it has ${layerCount} layers, its configuration ${diffIds.length}`;
    throw new NydusGdError("invalid-image", `Cannot convert ${description}: ${state}`);
  }
  return {
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    config: config.value,
    diffIds,
  };
}

/**
 * The images of a name, for one platform or all.
 *
 * @throws {NydusGdError} "not-found" if there is none, "unsupported" for what cannot be converted, "invalid-image"
 */
export async function sourceImages(
  content: ImageContent,
  platform: Platform | undefined,
  signal: AbortSignal,
): Promise<SourceImage[]> {
  const search = new ImageSearch(content, platform, signal);
  for (const document of await content.named(signal)) await search.visit(document, undefined, MAX_DEPTH);
  if (search.found.length === 0) throw search.notFound();
  return search.found;
}

/** Collects the images of a name, and remembers what else there was. */
class ImageSearch {
  /** At most one for each platform. */
  readonly found: SourceImage[] = [];
  readonly #platforms = new Set<string>();
  /** Platforms of images that are not wanted. */
  readonly #otherPlatforms = new Set<string>();
  readonly #artifacts: string[] = [];
  #sawNydus = false;

  constructor(
    private readonly content: ImageContent,
    private readonly platform: Platform | undefined,
    private readonly signal: AbortSignal,
  ) {}

  /** @param depth levels of indexes that the document may contain */
  async visit(document: ImageDocument, listing: Listing | undefined, depth: number): Promise<void> {
    const which = listing === undefined ? "manifest" : `manifest ${listing.entry.digest}`;
    const name = `${which} of ${this.content.description}`;
    const parsed = parseManifestDocument(document.bytes, document.mediaType, name);
    if (parsed.kind === "index") await this.#visitEntries(parsed.index, depth);
    else await this.#visitManifest(document, parsed.manifest, listing);
  }

  /** The error for a name without an image to convert. */
  notFound(): NydusGdError {
    const { description } = this.content;
    if (this.#sawNydus) return nydusAlready(description, `nydus-gd inspect ${description}`);
    const [artifact] = this.#artifacts;
    if (artifact !== undefined) {
      return unconvertible(description, `it is not an image, but ${JSON.stringify(artifact.slice(0, 100))}`);
    }
    const wanted = this.platform === undefined ? "Linux" : formatPlatform(this.platform);
    const others = [...this.#otherPlatforms].join(", ");
    return new NydusGdError("not-found", `Cannot convert ${description}: it has no image for ${wanted}`, {
      ...(others === "" ? {} : { hint: `it has one for ${others}` }),
    });
  }

  async #visitEntries(index: Index, depth: number): Promise<void> {
    const { content, signal } = this;
    if (depth === 0) {
      throw new NydusGdError("invalid-image", `Cannot convert ${content.description}: indexes are nested too deeply`);
    }
    for (const entry of imagesOf(index)) {
      await this.visit(await content.document(entry, signal), { entry, index }, depth - 1);
    }
  }

  async #visitManifest(document: ImageDocument, manifest: Manifest, listing: Listing | undefined): Promise<void> {
    if (bootstrapLayer(manifest) !== undefined || listing?.entry.artifactType === MEDIA_TYPE.nydusManifest) {
      this.#sawNydus = true;
      return;
    }
    const kind = artifactKind(manifest);
    if (kind !== undefined) {
      this.#artifacts.push(kind);
      return;
    }
    const bytes = await this.content.small(manifest.config, MAX_IMAGE_CONFIG_BYTES, this.signal);
    const config = readConfig(bytes, manifest.layers.length, this.content.description);
    const { os } = config.platform;
    if (os !== "linux" && os !== "") { // an index need not state it; to Docker, none at all is the host's
      this.#otherPlatforms.add(formatPlatform(config.platform));
      return;
    }
    const image = imageOf({ content: this.content, document, manifest, listing }, config);
    const name = formatPlatform(image.platform);
    if (this.#platforms.has(name)) return;
    if (this.platform !== undefined && !matchesPlatform(this.platform, image.platform)) {
      this.#otherPlatforms.add(name);
      return;
    }
    this.#platforms.add(name);
    this.found.push(image);
  }
}

/** The error for an image that is a nydus image already. */
export function nydusAlready(description: string, hint?: string): NydusGdError {
  return unconvertible(description, "it is a nydus image already", hint);
}

/** A manifest as listed in an index. */
interface Listing {
  readonly entry: Descriptor;
  readonly index: Index;
}

/** Entries of an index for Linux, without attestations and nydus images. */
function imagesOf({ manifests }: Index): Descriptor[] {
  return manifests.filter(({ platform }) =>
    !platform || platform.os === "linux" && !platform["os.features"]?.includes(NYDUS_OS_FEATURE)
  );
}

/** A manifest and where it was found. */
interface FoundManifest {
  readonly content: ImageContent;
  readonly document: ImageDocument;
  readonly manifest: Manifest;
  readonly listing: Listing | undefined;
}

function imageOf({ content, document, manifest, listing }: FoundManifest, source: SourceConfig): SourceImage {
  const { platform, config, diffIds } = source;
  const digest = digestOf(document.bytes);
  return {
    platform: { ...platform, ...wishesOf(listing) },
    config,
    layers: manifest.layers.map((layer, k) => layerOf(content, layer, diffIds[k] as Digest)),
    manifest: {
      document,
      descriptor: { mediaType: document.mediaType, digest, size: document.bytes.length },
      parsed: manifest,
      content,
      attestations: listing?.index.manifests.filter((entry) => isAttestationOf(entry, digest)) ?? [],
      indexAnnotations: listing?.index.annotations ?? {},
    },
  };
}

/** Platform properties that only an index specifies. */
function wishesOf(listing: Listing | undefined): Pick<Platform, "os.version" | "os.features"> {
  const { "os.version": version, "os.features": features } = listing?.entry.platform ?? {};
  return {
    ...(version === undefined ? {} : { "os.version": version }),
    ...(features ? { "os.features": features } : {}),
  };
}

function layerOf(content: ImageContent, layer: Descriptor, diffId: Digest): SourceLayer {
  const { digest, size, mediaType, annotations } = layer;
  const what = `layer ${digest}`;
  if (FOREIGN.test(mediaType)) {
    throw unconvertible(what, `it is a foreign layer (${mediaType}), whose content is not with the image`);
  }
  if (annotations?.[NYDUS_ANNOTATION.blob] === "true" || !LAYER_TYPES.has(mediaType)) {
    throw unconvertible(what, `its media type ${JSON.stringify(mediaType.slice(0, 100))} is not supported`);
  }
  return {
    what,
    diffId,
    size,
    hasWhiteouts: true,
    stored: { blob: { digest, size }, home: content },
    entries(onBytes, signal, walk) {
      const decode: LayerDecoder | undefined = walk && ((pieces, compression) => {
        if (compression === "gzip") return walk.inflate(pieces);
        throw new UnreferableError(compression === "none" ? "it is not compressed" : `it is ${compression}, not gzip`);
      });
      const stored = counted(
        streamBlob(content.blobs.blob(digest.slice(digest.indexOf(":") + 1)), size, signal),
        onBytes,
      );
      return fromLayer(tarOfLayer(stored, { what, doing: "convert", digest, diffId }, decode));
    },
  };
}
