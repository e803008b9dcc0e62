/**
 * The bootstrap of an image out of those of its layers.
 *
 * @module
 */
import { type ByteString, equalBytes, fromByteString } from "../../base/bytes.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";
import { GrowingColumn } from "../../rafs/growing.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../rafs/inode_mode.ts";
import type { BlobEntry } from "../../rafs/v6/writer.ts";
import { emptyAttr } from "../../rafs/walk.ts";
import { type BootstrapWriter, makeBootstrapWriter } from "./bootstrap_writer.ts";
import { IMPLIED_XATTR } from "./layer_tree.ts";
import { MergedChunks } from "./merged_chunks.ts";
import { type MergedFolder, MergedTree } from "./merged_tree.ts";
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
  const tree = new MergedTree(layers);
  const readers = layers.map((layer) => new InodeReader(layer.tree));
  /** What the names have, one after the other: how many chunks each, and which. */
  const counts = GrowingColumn.u32();
  const used = GrowingColumn.u32();
  eachName(tree, ({ layer, ino }) => {
    const extents = (readers[layer] as InodeReader).extents(ino);
    counts.push(extents.length);
    for (const extent of extents) used.push(chunks.use(layer, extent));
  });
  const blobs = chunks.number();
  const writer = makeBootstrapWriter(options);
  for (const record of chunks.records()) writer.addChunkRecord(record);
  /** Inodes that are fetched first, and where they come among them. */
  const wanted = new Map<number, number>();
  let names = 0;
  let place = 0;
  eachName<NamedFolder>(tree, ({ layer, ino, name, parent }) => {
    const own = used.values.subarray(place, place += counts.at(names++));
    const number = (readers[layer] as InodeReader).addTo(writer, ino, own, chunks);
    if (parent !== undefined) writer.addEntry(parent.number, fromByteString(name), number);
    const at = chunks.firstOffset(own) ?? (prefetch?.matches(pathOf(name, parent)) ? Infinity : undefined);
    if (at !== undefined) wanted.set(number, at);
    return { number, name, parent };
  });
  const listed = [...wanted].sort(([, a], [, b]) => a === b ? 0 : a - b).map(([number]) => number);
  return { bootstrap: writer.finish(blobs, listed), blobs };
}

/** A folder that was written. */
interface NamedFolder {
  readonly number: number;
  /** Empty for the root. */
  readonly name: ByteString;
  /** The folder that it is in; undefined for the root. */
  readonly parent: NamedFolder | undefined;
}

/** A name of the merged tree, and the inode that it is of. */
interface Visited<Above> {
  readonly layer: number;
  /** In its layer. */
  readonly ino: number;
  /** Empty for the root. */
  readonly name: ByteString;
  /** What the visit of its folder gave; undefined for the root. */
  readonly parent: Above | undefined;
}

/** Folder by folder: each before what is in it, files behind their folder. The same names in the same order each time. */
function eachName<Above>(tree: MergedTree, visit: (visited: Visited<Above>) => Above): void {
  const folders: { folder: MergedFolder; name: ByteString; parent: Above | undefined }[] = [
    { folder: tree.root, name: "", parent: undefined },
  ];
  for (const { folder: { layer, ino, children }, name: own, parent: above } of folders) { // grows meanwhile
    const parent = visit({ layer, ino, name: own, parent: above });
    for (const [name, node] of children) {
      if (typeof node === "object") folders.push({ folder: node, name, parent });
      else visit({ layer: tree.layerOf(node), ino: tree.inoOf(node), name, parent });
    }
  }
}

/** Absolute. */
function pathOf(name: ByteString, parent: NamedFolder | undefined): ByteString {
  if (parent === undefined) return "/";
  return parent.parent === undefined ? `/${name}` : `${pathOf(parent.name, parent.parent)}/${name}`;
}

/** Inodes of one layer. */
class InodeReader {
  /** Of inodes with several names, the number that each was written under. */
  readonly #written = new Map<number, number>();
  readonly #attr = emptyAttr();

  constructor(private readonly tree: Bootstrap) {}

  /** All pieces of a file, none of anything else. */
  extents(ino: number): Extent[] {
    this.tree.attr(ino, this.#attr);
    const { mode, size } = this.#attr;
    return (mode & S_IFMT) === S_IFREG ? this.tree.extents(ino, 0, size) : [];
  }

  /** The inode's number in what is written; it is added unless it was before. */
  addTo(writer: BootstrapWriter, ino: number, own: Uint32Array, chunks: MergedChunks): number {
    const known = this.#written.get(ino);
    if (known !== undefined) return known;
    this.tree.attr(ino, this.#attr);
    const { mode, uid, gid, mtime, mtimeNsec, rdev, size, nlink } = this.#attr;
    const type = mode & S_IFMT;
    const target = type === S_IFLNK ? { target: this.tree.readlink(ino) } : {};
    const places = Array.from(own, (chunk) => chunks.placeOf(chunk));
    const xattrs = this.#xattrs(ino);
    const spec = { mode, uid, gid, mtime, mtimeNsec, rdev, size, chunks: places, xattrs, ...target };
    const number = writer.addInode(spec);
    if (nlink > 1 && type !== S_IFDIR) this.#written.set(ino, number);
    return number;
  }

  #xattrs(ino: number): (readonly [Uint8Array, Uint8Array])[] {
    return this.tree.hasXattrs ? [...this.tree.xattrs(ino)].filter(([name]) => !isImpliedMark(name)) : [];
  }
}

function isImpliedMark(name: Uint8Array): boolean {
  return equalBytes(name, IMPLIED_XATTR);
}
