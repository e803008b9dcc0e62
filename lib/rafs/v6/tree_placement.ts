/**
 * Places inodes and directory blocks in a v6 image and writes their bytes.
 *
 * An inode is followed by its xattrs and then by chunk indexes (aligned to 8 bytes) or by the tail of its flat data,
 * which must end in the block in which the inode starts. Full blocks of flat data, and tails that do not fit, follow
 * all inodes.
 *
 * @module
 */
import { copyBytes, roundUp } from "../../base/bytes.ts";
import { DROP_INTERVAL, type ImageMemory } from "../memory/image_memory.ts";
import { erofsTypeOf, isDevice, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import {
  BLOCK,
  CHUNK_FORMAT_INDEXES,
  CHUNK_INDEX,
  DATA_LAYOUT,
  DIRENT,
  EXTENDED,
  INODE_SLOT,
  XATTR,
} from "./layout.ts";
import { type MoveChunk, readChunkIndex, type SortedEntries, type TreeTable, writeChunkIndex } from "./tree_table.ts";

/** Location of every inode and its data, by inode. */
export class Placement {
  /** Byte offset of the inode, a multiple of 32. */
  readonly at: Float64Array<ArrayBuffer>;
  /** 1 if the tail of the flat data follows the inode. */
  readonly inline: Uint8Array<ArrayBuffer>;
  /** First block of flat data stored outside the inode. */
  readonly block: Uint32Array<ArrayBuffer>;
  /** Byte offset of the end of the tree, a multiple of the block size. */
  end = 0;

  constructor(inodeCount: number) {
    this.at = new Float64Array(inodeCount);
    this.inline = new Uint8Array(inodeCount);
    this.block = new Uint32Array(inodeCount);
  }

  atOf(inode: number): number {
    return this.at[inode] as number;
  }

  isInline(inode: number): boolean {
    return this.inline[inode] === 1;
  }

  blockOf(inode: number): number {
    return this.block[inode] as number;
  }
}

/** Bytes of flat data: directory blocks or link target. Also stores the size of directories in the tree. */
function flatSize(tree: TreeTable, sorted: SortedEntries, inode: number): number {
  const { size } = tree.inodes;
  const type = tree.modeOf(inode) & S_IFMT;
  if (type === S_IFLNK) return size[inode] as number;
  if (type !== S_IFDIR) return 0;
  const { nameSize } = tree.entries;
  let full = 0, used = 0;
  for (const row of sorted.of(inode)) {
    const need = DIRENT.SIZE + (nameSize[row] as number);
    if (used + need > BLOCK) {
      full++;
      used = 0;
    }
    used += need;
  }
  return size[inode] = full * BLOCK + used;
}

/** Places every inode, beginning at `start`. */
export function placeTree(tree: TreeTable, sorted: SortedEntries, start: number): Placement {
  const placement = new Placement(tree.inodeCount);
  const { xattrSize, contentSize, size: sizes } = tree.inodes;
  let at = start;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    const head = EXTENDED.SIZE + (xattrSize[inode] as number);
    const tail = flatSize(tree, sorted, inode) % BLOCK;
    const inline = tail > 0 && head + tail <= BLOCK;
    // Bytes that must not cross a block boundary: the inode, or everything up to its inline tail.
    const together = inline ? head + tail : EXTENDED.SIZE;
    if (at % BLOCK + together > BLOCK) at = roundUp(at, BLOCK);
    placement.at[inode] = at;
    placement.inline[inode] = inline ? 1 : 0;
    const chunks = (tree.modeOf(inode) & S_IFMT) === S_IFREG ? contentSize[inode] as number : 0;
    const length = inline ? head + tail : chunks > 0 ? roundUp(head, CHUNK_INDEX.SIZE) + chunks : head;
    at = roundUp(at + length, INODE_SLOT);
  }
  let next = roundUp(at, BLOCK) / BLOCK;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    const type = tree.modeOf(inode) & S_IFMT;
    if (type !== S_IFDIR && type !== S_IFLNK) continue;
    const size = sizes[inode] as number;
    const blocks = placement.isInline(inode) ? Math.floor(size / BLOCK) : Math.ceil(size / BLOCK);
    placement.block[inode] = next;
    next += blocks;
  }
  placement.end = next * BLOCK;
  return placement;
}

/** Input and output of {@link emitTree}. */
export interface Emission {
  readonly tree: TreeTable;
  readonly sorted: SortedEntries;
  readonly placement: Placement;
  readonly image: Uint8Array;
  readonly view: DataView;
  /** The image as little-endian words: inodes and directory entries are aligned to them. Faster than the view. */
  readonly words: Int32Array;
  readonly nid: (inode: number) => number;
  /** log2 of the blocks per chunk. */
  readonly chunkFormatBits: number;
  /** Memory of the image. */
  readonly memory: ImageMemory;
  readonly move: MoveChunk | undefined;
}

/** Inodes or chunks that are written before the reader of the image gets its turn. */
export const WRITTEN_AT_ONCE = 256;

/** Writes all inodes and their flat data. Yields the number of bytes that are final. */
export function* emitTree(emission: Emission): Generator<number> {
  const { tree, image, view, placement, memory, move } = emission;
  const content = tree.bytes.bytes;
  const { xattrAt, xattrSize, contentAt, contentSize } = tree.inodes;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    if (inode % DROP_INTERVAL === 0) memory.dropPages();
    if (inode % WRITTEN_AT_ONCE === 0) yield placement.atOf(inode);
    emitInode(emission, inode);
    const at = placement.atOf(inode) + EXTENDED.SIZE;
    const xattrs = xattrSize[inode] as number;
    if (xattrs > 0) copyBytes(content, xattrAt[inode] as number, xattrs, image, at);
    const head = at + xattrs;
    const type = tree.modeOf(inode) & S_IFMT;
    if (type === S_IFDIR) {
      emitDirectory(emission, inode, head);
      continue;
    }
    const to = type === S_IFREG
      ? roundUp(head, CHUNK_INDEX.SIZE)
      : placement.isInline(inode)
      ? head
      : placement.blockOf(inode) * BLOCK;
    copyBytes(content, contentAt[inode] as number, contentSize[inode] as number, image, to);
    if (type === S_IFREG && move !== undefined) moveChunks(view, to, to + (contentSize[inode] as number), move);
  }
  yield placement.end;
}

/** Moves the chunks whose indexes are written at `[start, end)`. */
export function moveChunks(view: DataView, start: number, end: number, move: MoveChunk): void {
  const place = { blobIndex: 0, chunkIndex: 0, uncompressedOffset: 0 };
  for (let at = start; at < end; at += CHUNK_INDEX.SIZE) {
    readChunkIndex(view, at, place);
    move(place);
    writeChunkIndex(view, at, place.blobIndex, place.chunkIndex, place.uncompressedOffset);
  }
}

function emitInode(emission: Emission, inode: number): void {
  const { words, placement, tree: { inodes } } = emission;
  const at = placement.atOf(inode);
  const mode = inodes.mode[inode] as number;
  const type = mode & S_IFMT;
  const xattrSize = inodes.xattrSize[inode] as number;
  let layout: number = DATA_LAYOUT.flatPlain;
  let union = 0;
  if (type === S_IFREG) {
    layout = DATA_LAYOUT.chunkBased;
    union = CHUNK_FORMAT_INDEXES | emission.chunkFormatBits;
  } else if (type === S_IFDIR || type === S_IFLNK) {
    if (placement.isInline(inode)) layout = DATA_LAYOUT.flatInline;
    union = placement.blockOf(inode);
  } else if (isDevice(mode)) {
    union = inodes.rdev[inode] as number;
  }
  const slots = xattrSize === 0 ? 0 : (xattrSize - XATTR.HEADER_SIZE) / XATTR.ENTRY_SIZE + 1;
  const shownNlink = inodes.shownNlink[inode] as number;
  const size = inodes.size[inode] as number;
  words[(at + EXTENDED.format) / 4] = (slots << 16) | (layout << 1) | 1; // with xattrCount
  words[(at + EXTENDED.mode) / 4] = mode;
  words[(at + EXTENDED.size) / 4] = size;
  words[(at + EXTENDED.size) / 4 + 1] = size / 2 ** 32;
  words[(at + EXTENDED.union) / 4] = union;
  words[(at + EXTENDED.ino) / 4] = inode + 1;
  words[(at + EXTENDED.uid) / 4] = inodes.uid[inode] as number;
  words[(at + EXTENDED.gid) / 4] = inodes.gid[inode] as number;
  emission.view.setBigInt64(at + EXTENDED.mtime, inodes.mtime[inode] as bigint, true);
  words[(at + EXTENDED.mtimeNsec) / 4] = inodes.mtimeNsec[inode] as number;
  words[(at + EXTENDED.nlink) / 4] = shownNlink >= 0 ? shownNlink : inodes.nlink[inode] as number;
}

/** Writes the blocks of a directory. An inline last block is written at `tailAt`, after the inode. */
function emitDirectory(emission: Emission, inode: number, tailAt: number): void {
  const { tree: { entries: { nameSize } }, sorted, placement } = emission;
  const rows = sorted.of(inode);
  let index = 0;
  for (let from = 0; from < rows.length; index++) {
    let used = 0, to = from;
    for (; to < rows.length; to++) {
      const need = DIRENT.SIZE + (nameSize[rows[to] as number] as number);
      if (used + need > BLOCK) break;
      used += need;
    }
    const isTail = to === rows.length && placement.isInline(inode);
    emitDirectoryBlock(emission, rows, from, to, isTail ? tailAt : (placement.blockOf(inode) + index) * BLOCK);
    from = to;
  }
}

/** Writes a block with the entries of `rows[from, to)`, followed by their names. */
function emitDirectoryBlock(emission: Emission, rows: Uint32Array, from: number, to: number, at: number): void {
  const { tree, image, words, nid } = emission;
  const { inode: inodes, nameAt, nameSize } = tree.entries;
  const names = tree.names.bytes;
  let nameOffset = (to - from) * DIRENT.SIZE;
  let entry = at;
  for (let k = from; k < to; k++, entry += DIRENT.SIZE) {
    const row = rows[k] as number, inode = inodes[row] as number, size = nameSize[row] as number;
    words[(entry + DIRENT.nid) / 4] = nid(inode); // the high word stays 0: an image has less than 2^31 bytes
    words[(entry + DIRENT.nameOffset) / 4] = (erofsTypeOf(tree.modeOf(inode)) << 16) | nameOffset; // with the type
    copyBytes(names, nameAt[row] as number, size, image, at + nameOffset);
    nameOffset += size;
  }
}
