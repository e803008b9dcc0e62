/**
 * Describes an image from its bootstrap alone: the document of `nydus-gd inspect -o json`.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import { SLASH } from "../../base/path_bytes.ts";
import type { Manifest } from "../../oci/manifest.ts";
import { bootstrapLayer } from "../../oci/manifest.ts";
import type { BlobDescriptor, Bootstrap } from "../../rafs/bootstrap.ts";
import { effectiveBlobId } from "../../rafs/format/flags.ts";
import { pathText } from "../../rafs/path_text.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { fileExtents, walkTree } from "../../rafs/walk.ts";
import { type EntryFacts, entryFacts, TYPE_NAMES } from "./entry_facts.ts";
import { blobFeatureNames, imageFlagNames } from "./flag_names.ts";

/** A blob. Sizes in bytes, 0 if the image does not state them. */
export interface BlobFacts {
  readonly id: string;
  /** Size in the backend. */
  readonly compressed_bytes: number;
  /** Size of its address space, including padding between chunks. */
  readonly uncompressed_bytes: number;
  readonly compressor: string;
  readonly digester: string;
  readonly chunk_size: number;
  readonly chunks: number;
  /** Number and uncompressed bytes of the chunks that files of this image use. */
  readonly used_chunks: number;
  readonly used_bytes: number;
  readonly features: readonly string[];
}

/** The description of an image. */
export interface ImageDescription {
  readonly version: 5 | 6;
  readonly bootstrap_bytes: number;
  readonly chunk_size: number;
  readonly flags: readonly string[];
  /** Layers of the manifest; null without one. */
  readonly layers: readonly { readonly digest: string; readonly bytes: number; readonly kind: string }[] | null;
  readonly blobs: readonly BlobFacts[];
  readonly names: number;
  /** Number of inodes by type. */
  readonly inodes: Readonly<Record<string, number>>;
  /** Uncompressed bytes of all files, counting hard links once. */
  readonly file_bytes: number;
  /** Number of references to chunks, and of distinct chunks. */
  readonly chunks: {
    readonly references: number;
    readonly distinct: number;
    readonly distinct_bytes: number;
  };
  /** Paths that the image lists for prefetch. */
  readonly prefetch: readonly string[];
  /** The tree down to the requested depth. */
  readonly tree: readonly EntryFacts[];
}

/** Options of {@link inspectImage}. */
export interface InspectOptions {
  readonly manifest: Manifest | undefined;
  /** ID of the blob that contains the bootstrap. */
  readonly container: string | undefined;
  /** Levels of the tree to list below the root. */
  readonly depth: number;
}

/**
 * Describes an image, reading its whole tree.
 *
 * @throws {RafsError} for damage
 */
export function inspectImage(tree: Bootstrap, { manifest, container, depth }: InspectOptions): ImageDescription {
  const { used, ...counts } = countTree(tree, depth);
  const blobs = tree.blobs.map((blob, index) => blobFacts(blob, used[index] ?? new Map(), container));
  return {
    version: tree.version,
    bootstrap_bytes: tree.byteLength,
    chunk_size: tree.chunkSize,
    flags: imageFlagNames(tree.flags),
    layers: manifest === undefined ? null : layersOf(manifest),
    blobs,
    names: counts.names,
    inodes: counts.inodes,
    file_bytes: counts.fileBytes,
    chunks: {
      references: counts.references,
      distinct: sum(blobs.map(({ used_chunks: count }) => count)),
      distinct_bytes: sum(blobs.map(({ used_bytes: bytes }) => bytes)),
    },
    prefetch: counts.prefetch,
    tree: counts.upper,
  };
}

/** What a walk of the whole tree finds. */
interface TreeCounts {
  readonly names: number;
  readonly inodes: Readonly<Record<string, number>>;
  readonly fileBytes: number;
  /** References to chunks. */
  readonly references: number;
  /** Of each blob: uncompressed bytes of the chunks in use, by number. */
  readonly used: readonly ReadonlyMap<number, number>[];
  readonly prefetch: readonly string[];
  /** The tree down to the requested depth. */
  readonly upper: readonly EntryFacts[];
}

function countTree(tree: Bootstrap, depth: number): TreeCounts {
  const used = tree.blobs.map(() => new Map<number, number>());
  const seen = new Set<number>();
  const prefetch = new Map<number, string | undefined>(tree.prefetch.map((ino) => [ino, undefined]));
  const inodes: Record<string, number> = {};
  const upper: EntryFacts[] = [];
  const budget = new TreeBudget(tree.byteLength);
  let names = 0, fileBytes = 0, references = 0;
  for (const { path, ino, attr } of walkTree(tree)) {
    names++;
    if (depthOf(path) <= depth) upper.push(entryFacts(tree, path, ino, attr));
    if (prefetch.has(ino)) prefetch.set(ino, prefetch.get(ino) ?? pathText(path));
    if (seen.has(ino)) continue;
    seen.add(ino);
    const type = TYPE_NAMES[attr.mode & S.IFMT] ?? "unknown";
    inodes[type] = (inodes[type] ?? 0) + 1;
    if ((attr.mode & S.IFMT) !== S.IFREG) continue;
    fileBytes += attr.size;
    for (const { blobIndex, chunkIndex, chunkLength } of fileExtents(tree, ino, attr.size)) {
      budget.takeChunk(ino);
      references++;
      used[blobIndex]?.set(chunkIndex, chunkLength);
    }
  }
  return {
    names,
    inodes,
    fileBytes,
    references,
    used,
    prefetch: [...prefetch].map(([ino, path]) => path ?? `inode ${ino}, which has no name`),
    upper,
  };
}

/** @param used uncompressed bytes of the chunks in use, by number */
function blobFacts(
  blob: BlobDescriptor,
  used: ReadonlyMap<number, number>,
  container: string | undefined,
): BlobFacts {
  return {
    id: effectiveBlobId(blob, container),
    compressed_bytes: blob.compressedSize,
    uncompressed_bytes: blob.uncompressedSize,
    compressor: blob.compressor,
    digester: blob.digester,
    chunk_size: blob.chunkSize,
    chunks: blob.chunkCount,
    used_chunks: used.size,
    used_bytes: sum(used.values()),
    features: blobFeatureNames(blob.features),
  };
}

function layersOf(manifest: Manifest): ImageDescription["layers"] {
  const bootstrap = bootstrapLayer(manifest) ?? manifest.layers[0]; // without a mark it is the lowest: image_form.ts
  return manifest.layers.map(({ digest, size, mediaType }) => ({
    digest,
    bytes: size,
    kind: digest === bootstrap?.digest ? "bootstrap" : /nydus\.blob/.test(mediaType) ? "blob" : "layer",
  }));
}

/** Returns the depth of a path: 0 for the root, 1 for its entries. */
function depthOf(path: Uint8Array): number {
  if (path.length === 1) return 0;
  let depth = 0;
  for (const byte of path) if (byte === SLASH) depth++;
  return depth;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
