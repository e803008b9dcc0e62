/**
 * Builds an OCI image from layer tars: gzip, digests, configuration, manifest.
 *
 * Everything is kept in memory and deterministic: the same layers yield the same digests.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzip } from "node:zlib";
import { promisify } from "node:util";
import { encodeTarHeader, TAR_END, tarPadding } from "../../archive/tar_writer.ts";
import { tarEntry } from "../../archive/tar.ts";
import { concatenate } from "../../base/bytes.ts";
import { type Digest, sha256Digest } from "../../oci/digest.ts";
import { MEDIA_TYPE } from "../../oci/media_types.ts";
import { type ImageMemory, ORDINARY_MEMORY, partsOf } from "../../rafs/memory/image_memory.ts";
import { SequentialImage } from "../../rafs/memory/sequential_image.ts";
import { type BlobOrigin, formatBlobOrigin, ORIGIN_FILE } from "./blob_origin.ts";
import type { Pack } from "./gzip_blocks.ts";

/** A blob to push. */
export interface ImageBlob {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A complete image. */
export interface BuiltImage {
  readonly config: ImageBlob;
  readonly layers: readonly ImageBlob[];
  readonly manifest: ImageBlob;
}

/** The runtime configuration of an image. */
export interface RuntimeConfig {
  /** GOARCH: "amd64", "arm64". */
  readonly architecture: string;
  readonly cmd?: readonly string[];
  readonly env?: readonly string[];
}

/** The bootstrap's path in its layer, the same as nydusify's. */
const BOOTSTRAP_FOLDER = "image/";
const BOOTSTRAP_FILE = "image.boot";

/** nydusify's suffix of the chunk tables next to the bootstrap. */
const META_SUFFIX = ".blob.meta";

/** Returns the tar of {@link bootstrapLayerPieces} in one piece. */
export function bootstrapLayerTar(bootstrap: Uint8Array, origin?: BlobOrigin): Uint8Array<ArrayBuffer> {
  return concatenate(bootstrapLayerPieces(bootstrap, origin));
}

/**
 * Returns the tar of a bootstrap layer, in pieces, one of which is the bootstrap. Includes `origin`, the location of
 * the blobs, if given.
 *
 * @param metas chunk tables by blob ID, in the format of the cache; each saves a request
 */
export function bootstrapLayerPieces<Image extends Uint8Array | SequentialImage>(
  bootstrap: Image,
  origin?: BlobOrigin,
  metas: ReadonlyMap<string, Uint8Array> = new Map(),
): (Uint8Array | Image)[] {
  const folder = tarEntry({ type: "directory", name: encodeText(BOOTSTRAP_FOLDER), mode: 0o755 });
  return [
    encodeTarHeader(folder),
    ...tarFile(BOOTSTRAP_FILE, bootstrap),
    ...[...metas].flatMap(([id, meta]) => tarFile(id + META_SUFFIX, meta)),
    ...(origin === undefined ? [] : tarFile(ORIGIN_FILE, encodeText(formatBlobOrigin(origin)))),
    TAR_END,
  ];
}

function tarFile<Content extends { readonly length: number }>(
  name: string,
  content: Content,
): (Uint8Array | Content)[] {
  const path = encodeText(BOOTSTRAP_FOLDER + name);
  const entry = tarEntry({ type: "file", name: path, mode: 0o444, sizeBytes: content.length });
  return [encodeTarHeader(entry), content, tarPadding(content.length)];
}

function encodeText(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Builds the image of `tars`, lowest layer first. */
export async function buildImage(tars: readonly Uint8Array[], config: RuntimeConfig): Promise<BuiltImage> {
  const layers = await Promise.all(tars.map(async (tar) => blobOf(MEDIA_TYPE.ociLayerGzip, await gzipped(tar))));
  const configBlob = blobOfJson(MEDIA_TYPE.ociConfig, {
    architecture: config.architecture,
    os: "linux",
    config: { Cmd: config.cmd ?? [], Env: config.env ?? [] },
    rootfs: { type: "layers", diff_ids: tars.map(digestOf) },
    history: tars.map(() => ({ created_by: "nydus-gd" })),
  });
  const manifest = blobOfJson(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: descriptorOf(configBlob),
    layers: layers.map(descriptorOf),
  });
  return { config: configBlob, layers, manifest };
}

/** Returns the digest "sha256:…" of the bytes. */
export function digestOf(bytes: Uint8Array): Digest {
  return digestOfPieces([bytes]);
}

/**
 * Returns the digest "sha256:…" of concatenated pieces.
 *
 * @param memory that holds the pieces
 */
export function digestOfPieces(pieces: readonly Uint8Array[], memory = ORDINARY_MEMORY): Digest {
  const hash = createHash("sha256");
  for (const piece of pieces) for (const part of partsOf(piece, memory)) hash.update(part);
  return sha256Digest(hash.digest("hex"));
}

/** Returns the descriptor of a blob for manifests and indexes. */
export function descriptorOf(
  { mediaType, digest, bytes }: ImageBlob,
): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest, size: bytes.length };
}

/** Returns the blob of these bytes. */
export function blobOf(mediaType: string, bytes: Uint8Array<ArrayBuffer>): ImageBlob {
  return { mediaType, digest: digestOf(bytes), bytes };
}

/** Returns the blob of a JSON document. */
export function blobOfJson(mediaType: string, value: unknown): ImageBlob {
  return blobOf(mediaType, encodeText(JSON.stringify(value)));
}

/** Compresses with gzip, without a timestamp: the same input yields the same output. */
export async function gzipped(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await promisify(gzip)(bytes));
}

/**
 * Compresses a tar. Its images are written meanwhile. Deterministic.
 *
 * @param memory that holds the pieces
 * @param pack compresses, possibly in another thread
 * @throws errors of the writer of an image
 */
export async function packedLayer(
  tar: readonly (Uint8Array | SequentialImage)[],
  memory: ImageMemory,
  pack: Pack,
): Promise<{ readonly layer: ImageBlob; readonly diffId: Digest }> {
  const hash = createHash("sha256");
  const parts = function* () {
    for (const piece of tar) {
      for (const part of piece instanceof SequentialImage ? piece.parts(memory) : partsOf(piece, memory)) {
        hash.update(part);
        yield part;
      }
    }
  };
  const packed = concatenate(await pack(parts()));
  return { layer: blobOf(MEDIA_TYPE.ociLayerGzip, packed), diffId: sha256Digest(hash.digest("hex")) };
}
