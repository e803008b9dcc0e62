/**
 * The bootstrap of an image out of those of its layers.
 *
 * @module
 */
import { type ByteString, equalBytes, fromByteString } from "../../base/bytes.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";
import { S_IFLNK, S_IFMT, S_IFREG } from "../../rafs/inode_mode.ts";
import type { BlobEntry, InodeSpec } from "../../rafs/v6/writer.ts";
import { emptyAttr } from "../../rafs/walk.ts";
import { makeBootstrapWriter } from "./bootstrap_writer.ts";
import { IMPLIED_XATTR } from "./layer_tree.ts";
import { MergedChunks } from "./merged_chunks.ts";
import { type MergedNode, mergeTrees } from "./merged_tree.ts";
import type { PrefetchPatterns } from "./prefetch_patterns.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** A layer that was converted. */
export interface MergeableLayer {
  /** The layer's own, opened. */
  readonly tree: Bootstrap;
  /** The blob that it is in. */
  readonly blobId: string;
  /** False: names that look like whiteouts are files. */
  readonly hasWhiteouts: boolean;
}

/** A whole image. */
export interface MergedImage {
  readonly bootstrap: Uint8Array<ArrayBuffer>;
  /** Those that its files are in. */
  readonly blobs: readonly BlobEntry[];
}

/** What a merged image has beside its layers. */
export interface MergeExtras {
  /** Files that are fetched first. */
  readonly prefetch?: PrefetchPatterns | undefined;
  /** Chunks that are used in place of equal ones of the layers; files that are all there are fetched first, too. */
  readonly start?: Pick<MergeableLayer, "tree" | "blobId"> | undefined;
}

/** Inode numbers are below this: v6 counts units of 32 bytes in what a u32 of blocks can hold. */
const INODES = 2 ** 40;

/**
 * The image of `layers`, the lowest first.
 *
 * @throws {NydusGdError} "invalid-image" for layers that do not fit, as RafsError what the format cannot hold
 */
export function mergeLayers(
  layers: readonly MergeableLayer[],
  options: RafsOptions,
  { prefetch, start }: MergeExtras = {},
): MergedImage {
  const root = mergeTrees(layers);
  const chunks = new MergedChunks(layers, start);
  const readers = layers.map(({ tree }) => new InodeReader(tree));
  const readerOf = ({ layer }: MergedNode) => readers[layer] as InodeReader;
  for (const { node } of walkNodes(root)) chunks.use(node.layer, readerOf(node).extents(node.ino));
  const blobs = chunks.number();
  const writer = makeBootstrapWriter(options);
  for (const record of chunks.records()) writer.addChunkRecord(record);
  const numbers = new Map<number, number>();
  /** Inodes that are fetched first, and where they come among them. */
  const wanted = new Map<number, number>();
  for (const named of walkNodes(root)) {
    const { node, parent } = named;
    const key = node.layer * INODES + node.ino;
    const extents = readerOf(node).extents(node.ino);
    named.number = numbers.get(key) ??
      writer.addInode({ ...readerOf(node).spec(node.ino), chunks: chunks.placesOf(node.layer, extents) });
    numbers.set(key, named.number);
    if (parent !== undefined) writer.addEntry(parent.number, fromByteString(named.name), named.number);
    const at = chunks.firstOffset(node.layer, extents) ?? (prefetch?.matches(pathOf(named)) ? Infinity : undefined);
    if (at !== undefined) wanted.set(named.number, at);
  }
  const listed = [...wanted].sort(([, a], [, b]) => a === b ? 0 : a - b).map(([number]) => number);
  return { bootstrap: writer.finish(blobs, listed), blobs };
}

/** A name of the merged tree. */
interface NamedNode {
  readonly node: MergedNode;
  /** Empty for the root. */
  readonly name: ByteString;
  readonly parent: NamedNode | undefined;
  /** Of its inode, once it was written. */
  number: number;
}

/** Folder by folder: each before what is in it, files behind their folder. */
function* walkNodes(root: MergedNode): Generator<NamedNode> {
  const folders: NamedNode[] = [{ node: root, name: "", parent: undefined, number: 0 }];
  for (const folder of folders) { // grows meanwhile
    yield folder;
    for (const [name, node] of folder.node.children ?? []) {
      const named = { node, name, parent: folder, number: 0 };
      if (node.children === undefined) yield named;
      else folders.push(named);
    }
  }
}

/** Absolute. */
function pathOf({ name, parent }: NamedNode): ByteString {
  if (parent === undefined) return "/";
  return parent.parent === undefined ? `/${name}` : `${pathOf(parent)}/${name}`;
}

/** Inodes of one layer. */
class InodeReader {
  readonly #attr = emptyAttr();

  constructor(private readonly tree: Bootstrap) {}

  /** All pieces of a file, none of anything else. */
  extents(ino: number): Extent[] {
    this.tree.attr(ino, this.#attr);
    const { mode, size } = this.#attr;
    return (mode & S_IFMT) === S_IFREG ? this.tree.extents(ino, 0, size) : [];
  }

  /** All but the chunks. */
  spec(ino: number): InodeSpec {
    this.tree.attr(ino, this.#attr);
    const { mode, uid, gid, mtime, mtimeNsec, rdev, size } = this.#attr;
    const isLink = (mode & S_IFMT) === S_IFLNK;
    return {
      ...{ mode, uid, gid, mtime, mtimeNsec, rdev, size },
      ...(isLink ? { target: this.tree.readlink(ino) } : {}),
      ...(this.tree.hasXattrs ? { xattrs: [...this.tree.xattrs(ino)].filter(([name]) => !isImpliedMark(name)) } : {}),
    };
  }
}

function isImpliedMark(name: Uint8Array): boolean {
  return equalBytes(name, IMPLIED_XATTR);
}
