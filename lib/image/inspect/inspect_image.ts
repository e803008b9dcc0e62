/**
 * What an image is made of, out of its bootstrap alone: the document of `nydus-gd inspect -o json`.
 *
 * @module
 */
import { S } from "../../../ffi/sys_stat.ts";
import type { Manifest } from "../../oci/manifest.ts";
import { bootstrapLayer } from "../../oci/manifest.ts";
import type { Bootstrap } from "../../rafs/bootstrap.ts";
import { effectiveBlobId } from "../../rafs/flags.ts";
import { pathText } from "../../rafs/path_text.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { fileExtents, walkTree } from "../../rafs/walk.ts";
import { type EntryFacts, entryFacts, TYPE_NAMES } from "./entry_facts.ts";
import { blobFeatureNames, imageFlagNames } from "./flag_names.ts";

/** One blob. Sizes in bytes, 0 where the image does not say. */
export interface BlobFacts {
  readonly id: string;
  /** At its home. */
  readonly compressed_bytes: number;
  /** Of its address space, padding between chunks included. */
  readonly uncompressed_bytes: number;
  readonly compressor: string;
  readonly digester: string;
  readonly chunk_size: number;
  readonly chunks: number;
  /** Chunks that files of this image have, and their plain bytes. */
  readonly used_chunks: number;
  readonly used_bytes: number;
  readonly features: readonly string[];
}

/** The image. */
export interface ImageFacts {
  readonly version: 5 | 6;
  readonly bootstrap_bytes: number;
  readonly chunk_size: number;
  readonly flags: readonly string[];
  /** Of the manifest, where the image has one. */
  readonly layers: readonly { readonly digest: string; readonly bytes: number; readonly kind: string }[] | null;
  readonly blobs: readonly BlobFacts[];
  readonly names: number;
  /** Inodes by type. */
  readonly inodes: Readonly<Record<string, number>>;
  /** Plain bytes of all files, hard links once. */
  readonly file_bytes: number;
  /** How often chunks occur in files, and how many there are. */
  readonly chunks: {
    readonly references: number;
    readonly distinct: number;
    readonly distinct_bytes: number;
  };
  /** Paths that are to be fetched first. */
  readonly prefetch: readonly string[];
  /** The upper part of the tree. */
  readonly tree: readonly EntryFacts[];
}

/** What is inspected, and how deep. */
export interface InspectOptions {
  readonly manifest: Manifest | undefined;
  /** Id of the blob that carries the bootstrap. */
  readonly container: string | undefined;
  /** Levels of the tree below the root. */
  readonly depth: number;
}

/**
 * Looks at all of a tree.
 *
 * @throws {RafsError} on damage
 */
export function inspectImage(tree: Bootstrap, { manifest, container, depth }: InspectOptions): ImageFacts {
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
  const blobs = tree.blobs.map((blob, index): BlobFacts => ({
    id: effectiveBlobId(blob, container),
    compressed_bytes: blob.compressedSize,
    uncompressed_bytes: blob.uncompressedSize,
    compressor: blob.compressor,
    digester: blob.digester,
    chunk_size: blob.chunkSize,
    chunks: blob.chunkCount,
    used_chunks: used[index]?.size ?? 0,
    used_bytes: sum(used[index]?.values() ?? []),
    features: blobFeatureNames(blob.features),
  }));
  return {
    version: tree.version,
    bootstrap_bytes: tree.byteLength,
    chunk_size: tree.chunkSize,
    flags: imageFlagNames(tree.flags),
    layers: manifest === undefined ? null : layersOf(manifest),
    blobs,
    names,
    inodes,
    file_bytes: fileBytes,
    chunks: {
      references,
      distinct: sum(blobs.map(({ used_chunks: count }) => count)),
      distinct_bytes: sum(blobs.map(({ used_bytes: bytes }) => bytes)),
    },
    prefetch: [...prefetch].map(([ino, path]) => path ?? `inode ${ino}, which has no name`),
    tree: upper,
  };
}

function layersOf(manifest: Manifest): ImageFacts["layers"] {
  const bootstrap = bootstrapLayer(manifest) ?? manifest.layers.at(-1);
  return manifest.layers.map(({ digest, size, mediaType }) => ({
    digest,
    bytes: size,
    kind: digest === bootstrap?.digest ? "bootstrap" : /nydus\.blob/.test(mediaType) ? "blob" : "layer",
  }));
}

/** 0 for the root, 1 for what is in it. */
function depthOf(path: Uint8Array): number {
  if (path.length === 1) return 0;
  let depth = 0;
  for (const byte of path) if (byte === 0x2f) depth++;
  return depth;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
