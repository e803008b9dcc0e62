/**
 * Merges the bootstraps of layers to the bootstrap of an image.
 *
 * @module
 */
import { type ByteString, toByteString } from "../../../base/bytes.ts";
import { type Bootstrap, emptyAttr } from "../../../rafs/bootstrap.ts";
import { DROP_INTERVAL, type ImageMemory, ORDINARY_MEMORY } from "../../../rafs/memory/image_memory.ts";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../../../rafs/format/inode_mode.ts";
import type { SequentialImage } from "../../../rafs/memory/sequential_image.ts";
import { TreeBudget } from "../../../rafs/tree_budget.ts";
import type { BlobEntry, InodeSpec, MovablePlace } from "../../../rafs/v6/writer.ts";
import { makeBootstrapWriter, type RafsWriter } from "../format/bootstrap_writer.ts";
import { isImpliedMark } from "../layer/layer_tree.ts";
import { MergedChunks, nameChunk } from "./merged_chunks.ts";
import { eachName, type MergedName } from "./merged_names.ts";
import type { PrefetchPatterns } from "./prefetch_patterns.ts";
import type { RafsOptions } from "../format/rafs_options.ts";

/** Bytes of a compact inode of v6; those of v5 are larger. */
const SMALLEST_INODE = 32;

/** A layer that was converted. */
export interface MergeableLayer {
  /** The layer's own bootstrap, opened. */
  readonly tree: Bootstrap;
  /** Id of the blob that contains it. */
  readonly blobId: string;
  /** Its size. */
  readonly blobBytes?: number | undefined;
  /** For messages: "layer sha256:…". */
  readonly what: string;
  /** If false, names that look like whiteouts are ordinary files. */
  readonly hasWhiteouts: boolean;
}

/** A whole image. */
export interface MergedImage {
  /** Written while it is read. Needs the layers' trees until then. */
  readonly bootstrap: SequentialImage;
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
  const writer = makeBootstrapWriter(options, memory);
  writer.tree.reserve(layers.reduce((sum, { tree }) => sum + inodesOf(tree), 0));
  const readers = layers.map(({ tree }, layer) => new InodeReader(tree, layer, chunks));
  const wanted = new Map<number, number>();
  const paths = prefetch && new PathMatcher(prefetch);
  let names = 0;
  eachName(layers, (name) => {
    if (names++ % DROP_INTERVAL === 0) memory.dropPages();
    const { layer, ino, start, end, parent } = name;
    const reader = readers[layer] as InodeReader;
    const number = reader.addTo(writer, ino);
    if (parent !== undefined) writer.tree.addReadEntry(parent, reader.tree.bytes, number, start, end);
    const isMatch = paths?.matches(name, reader.tree, number) ?? false;
    const rank = chunks.firstOffset(reader.newChunks) ?? (isMatch ? Infinity : undefined);
    if (rank !== undefined && !wanted.has(number)) wanted.set(number, rank);
    return number;
  });
  const blobs = chunks.number();
  writer.addChunks(chunks);
  const listed = [...wanted].sort(([, a], [, b]) => a === b ? 0 : a - b).map(([number]) => number);
  return { bootstrap: writer.begin(blobs, listed, (place) => chunks.move(place)), blobs };
}

/** Number of inodes, as far as the bootstrap can contain them. */
function inodesOf({ inodeCount, byteLength }: Bootstrap): number {
  return Math.min(inodeCount, Math.floor(byteLength / SMALLEST_INODE));
}

/** Matches the paths of merged names with patterns. */
class PathMatcher {
  /** Paths of folders, by number in the output; that of the root is empty. */
  readonly #folders = new Map<number, ByteString>();

  constructor(private readonly patterns: PrefetchPatterns) {}

  /** @param number of the inode in the output. Folders are asked for before their contents. */
  matches({ start, end, parent, isFolder }: Readonly<MergedName>, { bytes }: Bootstrap, number: number): boolean {
    const path = parent === undefined ? "" : `${this.#folders.get(parent)}/${toByteString(bytes.subarray(start, end))}`;
    if (isFolder) this.#folders.set(number, path);
    return this.patterns.matches(path === "" ? "/" : path);
  }
}

type Xattrs = NonNullable<InodeSpec["xattrs"]>;

const NO_XATTRS: Xattrs = [];
const NO_CHUNKS: readonly number[] = [];

/** Reads the inodes of one layer and adds them to a writer. */
class InodeReader {
  /** Number in the output by inode, for inodes with several names. */
  readonly #written = new Map<number, number>();
  readonly #attr = emptyAttr();
  readonly #budget: TreeBudget;
  /** Numbers of the chunks of the inode added last; empty if {@link addTo} found it already added. */
  newChunks: readonly number[] = NO_CHUNKS;
  /** Objects for places. */
  readonly #room: MovablePlace[] = [];

  constructor(readonly tree: Bootstrap, private readonly layer: number, private readonly chunks: MergedChunks) {
    this.#budget = new TreeBudget(tree.byteLength);
  }

  /** Returns the inode's number in the output, adding it if needed. Its chunks have places of {@link nameChunk}. */
  addTo(writer: RafsWriter, ino: number): number {
    this.newChunks = NO_CHUNKS;
    this.tree.attr(ino, this.#attr);
    const { mode, uid, gid, mtime, mtimeNsec, rdev, size, nlink } = this.#attr;
    const type = mode & S_IFMT;
    const hasOthers = nlink > 1 && type !== S_IFDIR;
    const known = hasOthers ? this.#written.get(ino) : undefined;
    if (known !== undefined) return known;
    if (type === S_IFREG && size > 0) this.newChunks = this.#readChunks(ino);
    const target = type === S_IFLNK ? this.tree.readlink(ino) : undefined;
    if (target !== undefined) this.#budget.takeBytes(ino, target.length);
    const chunks = this.#placeChunks();
    const spec = { mode, uid, gid, mtime, mtimeNsec, rdev, size, chunks, xattrs: this.#xattrs(ino), target };
    const number = writer.addInode(spec);
    if (hasOthers) this.#written.set(ino, number);
    return number;
  }

  #readChunks(ino: number): readonly number[] {
    const chunks: number[] = [];
    this.tree.eachChunk(ino, (blobIndex, chunkIndex, chunkLength) => {
      this.#budget.takeChunk(ino);
      chunks.push(this.chunks.use(this.layer, blobIndex, chunkIndex, chunkLength));
    });
    return chunks;
  }

  #placeChunks(): readonly MovablePlace[] {
    const { newChunks } = this;
    const places: MovablePlace[] = [];
    for (let k = 0; k < newChunks.length; k++) {
      const place = this.#room[k] ??= { blobIndex: 0, chunkIndex: 0, uncompressedOffset: 0 };
      nameChunk(newChunks[k] as number, place);
      places.push(place);
    }
    return places;
  }

  #xattrs(ino: number): Xattrs {
    if (!this.tree.hasXattrs) return NO_XATTRS;
    const xattrs = [...this.tree.xattrs(ino)];
    if (xattrs.length === 0) return NO_XATTRS;
    this.#budget.takeXattrs(ino, xattrs);
    return xattrs.filter(([name]) => !isImpliedMark(name));
  }
}
