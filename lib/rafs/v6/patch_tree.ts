/**
 * Makes an EROFS image for the kernel out of a v6 bootstrap by changing a copy of it, where inodes and names stay in
 * their places. To write the image anew takes three times as long.
 *
 * What the kernel may reach is what the readers validated, to the byte: every inode, directory and chunk index is read
 * by them, no two of these may share a byte, and fields that only the kernel interprets are set. An image that is built
 * otherwise (compact inodes, content that the kernel expects elsewhere) is left to the writer.
 *
 * @module
 */
import { emptyAttr, type InodeAttr } from "../bootstrap.ts";
import { GrowingColumn } from "../memory/growing.ts";
import { type Region, unreadable } from "../format/guard.ts";
import { isDevice, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { PATH_MAX } from "../walk.ts";
import type { ChunkIndexCursor } from "./chunk_index.ts";
import type { DirectoryReader } from "./directory.ts";
import type { InodeCursor } from "./inode.ts";
import { BLOCK, CHUNK_FORMAT_INDEXES, CHUNK_INDEX, DATA_LAYOUT, EXTENDED, INODE_SLOT, XATTR } from "./layout.ts";
import { type BlobEntry, writeSuperBlocks } from "./super_block_writer.ts";
import { moveChunks } from "./tree_placement.ts";
import { type MoveChunk, writeChunkIndex } from "./tree_table.ts";
import { readXattrs } from "./xattrs.ts";

const WHAT = "RAFS tree";

/** A bootstrap and its readers, which share one cursor. */
export interface TreeSource {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly inode: InodeCursor;
  readonly directory: DirectoryReader;
  readonly chunkIndex: ChunkIndexCursor;
  /** Super blocks and tables. */
  readonly tables: readonly Region[];
  readonly blobTableAt: number;
  readonly chunkTable: Region;
  readonly rootNid: number;
  readonly metaOffset: number;
  readonly chunkSize: number;
  readonly explicitUidGid: boolean;
  readonly hasXattrs: boolean;
}

/**
 * Called for each chunk of a file.
 *
 * @param chunkOffset in the blob's address space
 * @returns a provisional offset, which {@link PatchedTree.finish} has moved
 */
export type PlaceChunk = (blobIndex: number, chunkIndex: number, chunkOffset: number, chunkLength: number) => number;

/** A bootstrap that may be the base of an image for the kernel. */
export interface PatchableTree {
  /**
   * @returns undefined if the image has to be written anew
   * @throws {RafsError} as `walkTree`; errors of `placeChunk` pass through
   */
  patchTree(placeChunk: PlaceChunk): PatchedTree | undefined;
}

/** Copies and patches the tree of `source`; see {@link PatchableTree.patchTree}. */
export function patchTree(source: TreeSource, placeChunk: PlaceChunk): PatchedTree | undefined {
  const patcher = new TreePatcher(source, placeChunk);
  return patcher.patch() ? patcher.patched() : undefined;
}

/** Use of a slot of the image, {@link INODE_SLOT} bytes. */
const SLOT = { free: 0, taken: 1, inode: 2 } as const;

class TreePatcher {
  readonly #image: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #attr: InodeAttr = emptyAttr();
  /** {@link SLOT} of each slot of the image. */
  readonly #slots: Uint8Array<ArrayBuffer>;
  /** Directories not yet listed: nid, and the bytes of its path without the slash of the root. */
  readonly #unlisted: number[] = [];
  /** Beginning and end of each file's chunk indexes. */
  readonly #chunks = GrowingColumn.u32();
  readonly #chunkFormat: number;
  #inodeCount = 0;

  constructor(private readonly source: TreeSource, private readonly placeChunk: PlaceChunk) {
    const { bytes, tables, chunkTable, chunkSize } = source;
    const isLast = chunkTable.size > 0 && chunkTable.at + chunkTable.size + BLOCK > bytes.length;
    const length = isLast ? chunkTable.at : bytes.length; // the kernel does not need the chunk table
    this.#image = new Uint8Array(length);
    this.#image.set(bytes.subarray(0, length));
    this.#view = new DataView(this.#image.buffer);
    this.#words = new Int32Array(this.#image.buffer);
    this.#slots = new Uint8Array(length / INODE_SLOT);
    for (const { at, size } of tables) {
      this.#image.fill(0, at, at + size);
      this.#slots.fill(SLOT.taken, Math.floor(at / INODE_SLOT), Math.ceil((at + size) / INODE_SLOT));
    }
    this.#chunkFormat = CHUNK_FORMAT_INDEXES | Math.log2(chunkSize / BLOCK);
  }

  /** False if the image is not built as the kernel expects it. */
  patch(): boolean {
    const { rootNid } = this.source;
    if (!this.#add(rootNid)) return false;
    this.#unlisted.push(rootNid, 0);
    while (this.#unlisted.length > 0) {
      const pathEnd = this.#unlisted.pop() as number;
      if (!this.#list(this.#unlisted.pop() as number, pathEnd)) return false;
    }
    return true;
  }

  patched(): PatchedTree {
    return new PatchedTree(this.source, this.#image, this.#view, this.#chunks.values, this.#inodeCount);
  }

  /** Adds what a directory names. */
  #list(nid: number, pathEnd: number): boolean {
    const { inode, directory } = this.source;
    let isPlain = true;
    directory.list(nid, 0, (start, end, child, type) => {
      const childEnd = pathEnd + 1 + end - start;
      if (childEnd - 1 > PATH_MAX) unreadable(WHAT, nid, `a path below it exceeds ${PATH_MAX} bytes`);
      inode.load(child);
      const isKnown = this.#slots[inode.at / INODE_SLOT] === SLOT.inode;
      isPlain = type === (inode.mode & S_IFMT) >> 12 && (isKnown || this.#add(child));
      if ((inode.mode & S_IFMT) === S_IFDIR) {
        if (isKnown) unreadable(WHAT, child, "the directory occurs twice");
        this.#unlisted.push(child, childEnd);
      }
      return isPlain;
    });
    return isPlain;
  }

  /** Validates and patches an inode and its content, except for what a directory holds. */
  #add(nid: number): boolean {
    const { bytes, inode, explicitUidGid } = this.source;
    const words = this.#words;
    inode.load(nid);
    inode.attr(this.#attr);
    const { at, mode, size } = inode;
    const type = mode & S_IFMT;
    if (!inode.extended || !this.#takeContent() || !this.#checkXattrs()) return false;
    this.#slots[at / INODE_SLOT] = SLOT.inode;
    this.#inodeCount++;
    const word = at / 4;
    const isFlat = type === S_IFDIR || type === S_IFLNK;
    const layout = type === S_IFREG ? DATA_LAYOUT.chunkBased : isFlat ? inode.layout : DATA_LAYOUT.flatPlain;
    words[word] = ((words[word] as number) & ~0xffff) | (layout << 1) | 1; // with xattrCount
    words[word + EXTENDED.mode / 4] = mode; // with a field that newer kernels use
    words.fill(0, word + EXTENDED.reserved / 4, word + EXTENDED.SIZE / 4);
    if (!explicitUidGid) words[word + EXTENDED.uid / 4] = words[word + EXTENDED.gid / 4] = 0;
    if (isFlat) {
      if (size === 0) return false;
      if (type === S_IFLNK) inode.linkTarget(bytes); // fails if it is none
      return true;
    }
    words[word + EXTENDED.union / 4] = type === S_IFREG ? this.#chunkFormat : isDevice(mode) ? inode.union : 0;
    if (type === S_IFREG) this.#patchChunks();
    else words.fill(0, word + EXTENDED.size / 4, word + EXTENDED.size / 4 + 2);
    return true;
  }

  /** Takes the bytes of the loaded inode and its content. False if others have them, or the tail crosses a block. */
  #takeContent(): boolean {
    const { inode } = this.source;
    const { at, mode, size } = inode;
    const type = mode & S_IFMT;
    const head = inode.xattrAt + inode.xattrSize;
    if (type === S_IFREG && size > 0) return this.#take(at, inode.chunksAt + inode.chunkCount * CHUNK_INDEX.SIZE);
    if (type !== S_IFDIR && type !== S_IFLNK) return this.#take(at, head);
    const isInline = inode.layout === DATA_LAYOUT.flatInline;
    const tail = isInline && size > 0 ? inode.blockLength(inode.blockCount - 1) : 0;
    const from = inode.union * BLOCK;
    return head % BLOCK + tail <= BLOCK && this.#take(at, head + tail) && this.#take(from, from + size - tail);
  }

  /** Takes `[start, end)`, extended to whole slots. False if a part is taken or outside of the image. */
  #take(start: number, end: number): boolean {
    if (end <= start) return true;
    if (end > this.#image.length) return false;
    const first = Math.floor(start / INODE_SLOT), last = Math.ceil(end / INODE_SLOT);
    for (let slot = first; slot < last; slot++) {
      if (this.#slots[slot] !== SLOT.free) return false;
      this.#slots[slot] = SLOT.taken;
    }
    return true;
  }

  /** Validates the loaded inode's attributes. False if the kernel would show others, or refuse them. */
  #checkXattrs(): boolean {
    const { bytes, view, inode, hasXattrs } = this.source;
    if (inode.xattrSize === 0) return true;
    if (!hasXattrs || readXattrs(bytes, view, inode).length === 0) return false;
    this.#image.fill(0, inode.xattrAt, inode.xattrAt + XATTR.HEADER_SIZE); // a filter of names, and none that are shared
    return true;
  }

  #patchChunks(): void {
    const { inode: { chunksAt, chunkCount, size }, chunkIndex, chunkSize } = this.source;
    if (chunkCount === 0) return;
    for (let chunk = 0; chunk < chunkCount; chunk++) {
      chunkIndex.load(chunksAt, chunk);
      const { blobIndex, chunkIndex: index, offset } = chunkIndex;
      const length = Math.min(chunkSize, size - chunk * chunkSize);
      const provisional = this.placeChunk(blobIndex, index, offset, length);
      writeChunkIndex(this.#view, chunksAt + chunk * CHUNK_INDEX.SIZE, blobIndex, 0, provisional);
    }
    this.#chunks.push(chunksAt);
    this.#chunks.push(chunksAt + chunkCount * CHUNK_INDEX.SIZE);
  }
}

/** The copy, whose chunks have provisional places. */
export class PatchedTree {
  constructor(
    private readonly source: TreeSource,
    private readonly image: Uint8Array<ArrayBuffer>,
    private readonly view: DataView<ArrayBuffer>,
    private readonly chunks: Uint32Array,
    private readonly inodeCount: number,
  ) {}

  /**
   * Completes the image, once.
   *
   * @param blobs its devices, at most as many as the bootstrap has
   * @param move called for every chunk of every file, once
   */
  finish(blobs: readonly BlobEntry[], move: MoveChunk): Uint8Array<ArrayBuffer> {
    const { image, view, chunks, inodeCount } = this;
    const { rootNid, metaOffset, chunkSize, hasXattrs, blobTableAt } = this.source;
    for (let k = 0; k < chunks.length; k += 2) moveChunks(view, chunks[k] as number, chunks[k + 1] as number, move);
    writeSuperBlocks(image, view, blobs, {
      inodeCount,
      rootNid,
      metaOffset,
      chunkSize,
      compressor: "none",
      digester: "sha256",
      explicitUidGid: true,
      hasXattrs,
      blobTableAt,
      chunkTable: { at: 0, size: 0 },
      prefetchTable: { at: 0, size: 0 },
    });
    return image;
  }
}
