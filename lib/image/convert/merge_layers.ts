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
import { type MergedChunk, MergedChunks } from "./merged_chunks.ts";
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
  const chunks = new MergedChunks(layers, start);
  const readers = layers.map(({ tree }, layer) => new InodeReader(tree, (extents) => chunks.use(layer, extents)));
  const names = [...namesOf(mergeTrees(layers), ({ layer, ino }) => (readers[layer] as InodeReader).inode(ino))];
  const blobs = chunks.number();
  const writer = makeBootstrapWriter(options);
  for (const record of chunks.records()) writer.addChunkRecord(record);
  /** Inodes that are fetched first, and where they come among them. */
  const wanted = new Map<number, number>();
  for (const named of names) {
    const { inode, name, parent } = named;
    const number = inode.number ??= writer.addInode(inode.reader.spec(inode));
    if (parent !== undefined) writer.addEntry(parent.inode.number as number, fromByteString(name), number);
    const at = chunks.firstOffset(inode.chunks) ?? (prefetch?.matches(pathOf(named)) ? Infinity : undefined);
    if (at !== undefined) wanted.set(number, at);
  }
  const listed = [...wanted].sort(([, a], [, b]) => a === b ? 0 : a - b).map(([number]) => number);
  return { bootstrap: writer.finish(blobs, listed), blobs };
}

/** An inode of one of the layers, which has a name in the merged tree. */
interface MergedInode {
  readonly reader: InodeReader;
  /** In its layer. */
  readonly ino: number;
  /** Of a file, all; none of anything else. */
  readonly chunks: readonly MergedChunk[];
  /** Once it was written. */
  number: number | undefined;
}

/** A name of the merged tree. */
interface Named {
  readonly inode: MergedInode;
  /** Empty for the root. */
  readonly name: ByteString;
  /** Of its folder; undefined for the root. */
  readonly parent: Named | undefined;
}

/** Folder by folder: each before what is in it, files behind their folder. */
function* namesOf(root: MergedNode, inodeOf: (node: MergedNode) => MergedInode): Generator<Named> {
  const folders: { node: MergedNode; named: Named }[] = [];
  folders.push({ node: root, named: { inode: inodeOf(root), name: "", parent: undefined } });
  for (const { node, named } of folders) { // grows meanwhile
    yield named;
    for (const [name, child] of node.children ?? []) {
      const below = { inode: inodeOf(child), name, parent: named };
      if (child.children === undefined) yield below;
      else folders.push({ node: child, named: below });
    }
  }
}

/** Absolute. */
function pathOf({ name, parent }: Named): ByteString {
  if (parent === undefined) return "/";
  return parent.parent === undefined ? `/${name}` : `${pathOf(parent)}/${name}`;
}

/** Inodes of one layer, each one object however many names it has. */
class InodeReader {
  readonly #inodes = new Map<number, MergedInode>();
  readonly #attr = emptyAttr();

  constructor(private readonly tree: Bootstrap, private readonly use: (extents: readonly Extent[]) => MergedChunk[]) {}

  inode(ino: number): MergedInode {
    let inode = this.#inodes.get(ino);
    if (inode === undefined) {
      this.#inodes.set(ino, inode = { reader: this, ino, chunks: this.use(this.#extents(ino)), number: undefined });
    }
    return inode;
  }

  spec({ ino, chunks }: MergedInode): InodeSpec {
    this.tree.attr(ino, this.#attr);
    const { mode, uid, gid, mtime, mtimeNsec, rdev, size } = this.#attr;
    const target = (mode & S_IFMT) === S_IFLNK ? { target: this.tree.readlink(ino) } : {};
    return { mode, uid, gid, mtime, mtimeNsec, rdev, size, chunks, xattrs: this.#xattrs(ino), ...target };
  }

  /** All pieces of a file, none of anything else. */
  #extents(ino: number): Extent[] {
    this.tree.attr(ino, this.#attr);
    const { mode, size } = this.#attr;
    return (mode & S_IFMT) === S_IFREG ? this.tree.extents(ino, 0, size) : [];
  }

  #xattrs(ino: number): (readonly [Uint8Array, Uint8Array])[] {
    return this.tree.hasXattrs ? [...this.tree.xattrs(ino)].filter(([name]) => !isImpliedMark(name)) : [];
  }
}

function isImpliedMark(name: Uint8Array): boolean {
  return equalBytes(name, IMPLIED_XATTR);
}
