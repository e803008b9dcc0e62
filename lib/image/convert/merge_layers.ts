/**
 * The bootstrap of an image out of those of its layers.
 *
 * @module
 */
import { type ByteString, toByteString } from "../../base/bytes.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";
import { GrowingColumn } from "../../rafs/growing.ts";
import { type ImageMemory, LET_GO_AFTER, ORDINARY_MEMORY } from "../../rafs/image_memory.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../rafs/inode_mode.ts";
import type { BlobEntry } from "../../rafs/v6/writer.ts";
import { TreeBudget } from "../../rafs/tree_budget.ts";
import { emptyAttr, fileExtents } from "../../rafs/walk.ts";
import { type BootstrapWriter, makeBootstrapWriter } from "./bootstrap_writer.ts";
import { isImpliedMark } from "./layer_tree.ts";
import { MergedChunks } from "./merged_chunks.ts";
import { eachName } from "./merged_names.ts";
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
  /** That the image and the layers' trees are in. */
  readonly memory?: ImageMemory | undefined;
}

/**
 * The image of `layers`, the lowest first.
 *
 * @throws {NydusGdError} "invalid-image" for layers that do not fit, as RafsError what the format cannot hold
 */
export function mergeLayers(
  layers: readonly MergeableLayer[],
  options: RafsOptions,
  { prefetch, start, memory = ORDINARY_MEMORY }: MergeExtras = {},
): MergedImage {
  const chunks = new MergedChunks(layers, start, memory);
  const readers = layers.map(({ tree }) => new InodeReader(tree));
  /** What the names have, one after the other: how many chunks each, and which. */
  const counts = GrowingColumn.u32();
  const used = GrowingColumn.u32();
  eachName(layers, ({ layer, ino }) => {
    const extents = (readers[layer] as InodeReader).newExtents(ino);
    if (counts.push(extents.length) % LET_GO_AFTER === 0) memory.letGo();
    for (const extent of extents) used.push(chunks.use(layer, extent));
  });
  const blobs = chunks.number();
  const writer = makeBootstrapWriter(options, memory);
  writer.addChunkRecords(chunks);
  /** Inodes that are fetched first, and where they come among them. */
  const wanted = new Map<number, number>();
  let names = 0;
  let place = 0;
  eachName<NamedFolder>(layers, ({ layer, ino, name, parent }) => {
    if (names % LET_GO_AFTER === 0) memory.letGo();
    const own = used.values.subarray(place, place += counts.at(names++));
    const number = (readers[layer] as InodeReader).addTo(writer, ino, own, chunks);
    if (parent !== undefined) writer.addEntry(parent.number, name, number);
    const named = prefetch === undefined ? UNNAMED : { name: toByteString(name), parent };
    const at = chunks.firstOffset(own) ?? (prefetch?.matches(pathOf(named)) ? Infinity : undefined);
    if (at !== undefined && !wanted.has(number)) wanted.set(number, at);
    return { number, ...named };
  });
  const listed = [...wanted].sort(([, a], [, b]) => a === b ? 0 : a - b).map(([number]) => number);
  return { bootstrap: writer.finish(blobs, listed), blobs };
}

/** A name, and the folder that it is in; undefined for the root. */
interface Named {
  readonly name: ByteString;
  readonly parent: NamedFolder | undefined;
}

/** A folder that was written. */
interface NamedFolder extends Named {
  readonly number: number;
}

/** Where nobody asks for paths. */
const UNNAMED: Named = { name: "", parent: undefined };

/** Absolute. */
function pathOf({ name, parent }: Named): ByteString {
  if (parent === undefined) return "/";
  return parent.parent === undefined ? `/${name}` : `${pathOf(parent)}/${name}`;
}

/** Inodes of one layer. */
class InodeReader {
  /** Of inodes with several names, the number that each was written under. */
  readonly #written = new Map<number, number>();
  readonly #attr = emptyAttr();

  /** Of those, the ones that {@link newExtents} was asked for. */
  readonly #counted = new Set<number>();
  readonly #budget: TreeBudget;

  constructor(private readonly tree: Bootstrap) {
    this.#budget = new TreeBudget(tree.byteLength);
  }

  /** All pieces of a file, at its first name; none of anything else. */
  newExtents(ino: number): Extent[] {
    this.tree.attr(ino, this.#attr);
    const { mode, size, nlink } = this.#attr;
    if ((mode & S_IFMT) !== S_IFREG || this.#counted.has(ino)) return [];
    if (nlink > 1) this.#counted.add(ino);
    const extents: Extent[] = [];
    for (const extent of fileExtents(this.tree, ino, size)) {
      this.#budget.takeChunk(ino);
      extents.push(extent);
    }
    return extents;
  }

  /** The inode's number in what is written; it is added unless it was before. */
  addTo(writer: BootstrapWriter, ino: number, own: Uint32Array, chunks: MergedChunks): number {
    const known = this.#written.get(ino);
    if (known !== undefined) return known;
    this.tree.attr(ino, this.#attr);
    const { mode, uid, gid, mtime, mtimeNsec, rdev, size, nlink } = this.#attr;
    const type = mode & S_IFMT;
    const target = type === S_IFLNK ? this.tree.readlink(ino) : undefined;
    this.#budget.takeBytes(ino, target?.length ?? 0);
    const places = Array.from(own, (chunk) => chunks.placeOf(chunk));
    const xattrs = this.#xattrs(ino);
    const spec = { mode, uid, gid, mtime, mtimeNsec, rdev, size, chunks: places, xattrs, target };
    const number = writer.addInode(spec);
    if (nlink > 1 && type !== S_IFDIR) this.#written.set(ino, number);
    return number;
  }

  #xattrs(ino: number): (readonly [Uint8Array, Uint8Array])[] {
    if (!this.tree.hasXattrs) return [];
    const xattrs = [...this.tree.xattrs(ino)];
    this.#budget.takeXattrs(ino, xattrs);
    return xattrs.filter(([name]) => !isImpliedMark(name));
  }
}
