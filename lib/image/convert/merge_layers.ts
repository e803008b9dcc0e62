/**
 * Merges the bootstraps of layers to the bootstrap of an image.
 *
 * @module
 */
import { type ByteString, toByteString } from "../../base/bytes.ts";
import type { Bootstrap, Extent } from "../../rafs/bootstrap.ts";
import { GrowingColumn } from "../../rafs/growing.ts";
import { DROP_INTERVAL, type ImageMemory, ORDINARY_MEMORY } from "../../rafs/image_memory.ts";
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
  /** The layer's own bootstrap, opened. */
  readonly tree: Bootstrap;
  /** Id of the blob that contains it. */
  readonly blobId: string;
  /** If false, names that look like whiteouts are ordinary files. */
  readonly hasWhiteouts: boolean;
}

/** A whole image. */
export interface MergedImage {
  readonly bootstrap: Uint8Array<ArrayBuffer>;
  /** The blobs that contain its files. */
  readonly blobs: readonly BlobEntry[];
}

/** Additional inputs of a merge. */
export interface MergeExtras {
  /** Files to prefetch. */
  readonly prefetch?: PrefetchPatterns | undefined;
  /** Chunks that replace equal ones of the layers. Files that consist only of them are prefetched, too. */
  readonly start?: Pick<MergeableLayer, "tree" | "blobId"> | undefined;
  /** Memory that holds the image and the layers' trees. */
  readonly memory?: ImageMemory | undefined;
}

/**
 * Merges `layers`, lowest first.
 *
 * @throws {NydusGdError} "invalid-image" for layers that do not fit together, as RafsError for what the format cannot
 * hold
 */
export function mergeLayers(
  layers: readonly MergeableLayer[],
  options: RafsOptions,
  { prefetch, start, memory = ORDINARY_MEMORY }: MergeExtras = {},
): MergedImage {
  const chunks = new MergedChunks(layers, start, memory);
  const readers = layers.map(({ tree }) => new InodeReader(tree));
  /** Chunks of the names in order: how many for each, and which. */
  const counts = GrowingColumn.u32();
  const used = GrowingColumn.u32();
  eachName(layers, ({ layer, ino }) => {
    const extents = (readers[layer] as InodeReader).newExtents(ino);
    if (counts.push(extents.length) % DROP_INTERVAL === 0) memory.dropPages();
    for (const extent of extents) used.push(chunks.use(layer, extent));
  });
  const blobs = chunks.number();
  const writer = makeBootstrapWriter(options, memory);
  writer.addChunkRecords(chunks);
  /** Inodes to prefetch, with their rank. */
  const wanted = new Map<number, number>();
  let names = 0;
  let place = 0;
  eachName<NamedFolder>(layers, ({ layer, ino, name, parent }) => {
    if (names % DROP_INTERVAL === 0) memory.dropPages();
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

/** A name and its folder; undefined for the root. */
interface Named {
  readonly name: ByteString;
  readonly parent: NamedFolder | undefined;
}

/** A folder that was written. */
interface NamedFolder extends Named {
  readonly number: number;
}

/** Used if nobody needs paths. */
const UNNAMED: Named = { name: "", parent: undefined };

/** Returns the absolute path. */
function pathOf({ name, parent }: Named): ByteString {
  if (parent === undefined) return "/";
  return parent.parent === undefined ? `/${name}` : `${pathOf(parent)}/${name}`;
}

/** Reads the inodes of one layer. */
class InodeReader {
  /** Number in the output by inode, for inodes with several names. */
  readonly #written = new Map<number, number>();
  readonly #attr = emptyAttr();

  /** Inodes with several names for which {@link newExtents} has been called. */
  readonly #counted = new Set<number>();
  readonly #budget: TreeBudget;

  constructor(private readonly tree: Bootstrap) {
    this.#budget = new TreeBudget(tree.byteLength);
  }

  /** All extents of a file at its first name; none otherwise. */
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

  /** Returns the inode's number in the output, adding it if needed. */
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
