/**
 * Where inodes and directory blocks of a written v6 image go, and their bytes.
 *
 * An inode is followed by its xattrs and then by chunk indexes (on a multiple of 8) or by the tail of its flat data, which
 * must end in the block that it starts in. Full blocks of flat data, and tails that do not fit, lie behind all inodes.
 *
 * @module
 */
import { copyBytes, roundUp, writeU64 } from "../../base/bytes.ts";
import { erofsTypeOf, isDevice, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../inode_mode.ts";
import { CHUNK_FORMAT_INDEXES, CHUNK_INDEX, DATA_LAYOUT, DIRENT, EXTENDED, INODE_SLOT, XATTR } from "./layout.ts";
import type { SortedEntries, TreeTable } from "./tree_table.ts";

/** Where everything of a tree is, by inode. */
export class Placement {
  /** Byte offset of the inode, a multiple of 32. */
  readonly at: Float64Array<ArrayBuffer>;
  /** 1: the tail of the flat data is behind the inode. */
  readonly inline: Uint8Array<ArrayBuffer>;
  /** First block of flat data outside the inode. */
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

/** Bytes of flat data: directory blocks or link target. Filled into `tree.size` for directories. */
function flatSize(tree: TreeTable, sorted: SortedEntries, inode: number, block: number): number {
  const type = tree.mode.at(inode) & S_IFMT;
  if (type === S_IFLNK) return tree.size.at(inode);
  if (type !== S_IFDIR) return 0;
  let full = 0, used = 0;
  for (const row of sorted.of(inode)) {
    const need = DIRENT.SIZE + tree.nameSize.at(row);
    if (used + need > block) {
      full++;
      used = 0;
    }
    used += need;
  }
  tree.size.set(inode, full * block + used);
  return full * block + used;
}

/** Finds a place for every inode from `start` on. */
export function placeTree(tree: TreeTable, sorted: SortedEntries, start: number, block: number): Placement {
  const placement = new Placement(tree.inodeCount);
  let at = start;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    const head = EXTENDED.SIZE + tree.xattrSize.at(inode);
    const tail = flatSize(tree, sorted, inode, block) % block;
    const inline = tail > 0 && head + tail <= block;
    // What must not cross a block: the inode itself, and up to its tail when that follows.
    const together = inline ? head + tail : EXTENDED.SIZE;
    if (at % block + together > block) at = roundUp(at, block);
    placement.at[inode] = at;
    placement.inline[inode] = inline ? 1 : 0;
    const chunks = (tree.mode.at(inode) & S_IFMT) === S_IFREG ? tree.contentSize.at(inode) : 0;
    const length = inline ? head + tail : chunks > 0 ? roundUp(head, CHUNK_INDEX.SIZE) + chunks : head;
    at = roundUp(at + length, INODE_SLOT);
  }
  let next = roundUp(at, block) / block;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    const type = tree.mode.at(inode) & S_IFMT;
    if (type !== S_IFDIR && type !== S_IFLNK) continue;
    const size = tree.size.at(inode);
    const blocks = placement.isInline(inode) ? Math.floor(size / block) : Math.ceil(size / block);
    placement.block[inode] = next;
    next += blocks;
  }
  placement.end = next * block;
  return placement;
}

/** What {@link emitTree} writes from and to. */
export interface Emission {
  readonly tree: TreeTable;
  readonly sorted: SortedEntries;
  readonly placement: Placement;
  readonly image: Uint8Array;
  readonly view: DataView;
  readonly block: number;
  readonly nid: (inode: number) => number;
  /** log2 of blocks in a chunk. */
  readonly chunkFormatBits: number;
}

/** Writes all inodes and their flat data. */
export function emitTree(emission: Emission): void {
  const { tree, image, placement } = emission;
  const content = tree.bytes.bytes;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    emitInode(emission, inode);
    const at = placement.atOf(inode) + EXTENDED.SIZE;
    const xattrSize = tree.xattrSize.at(inode);
    copyBytes(content, tree.xattrAt.at(inode), xattrSize, image, at);
    const head = at + xattrSize;
    const type = tree.mode.at(inode) & S_IFMT;
    if (type === S_IFDIR) {
      emitDirectory(emission, inode, head);
      continue;
    }
    const contentAt = type === S_IFREG
      ? roundUp(head, CHUNK_INDEX.SIZE)
      : placement.isInline(inode)
      ? head
      : placement.blockOf(inode) * emission.block;
    copyBytes(content, tree.contentAt.at(inode), tree.contentSize.at(inode), image, contentAt);
  }
}

function emitInode(emission: Emission, inode: number): void {
  const { tree, view, placement } = emission;
  const at = placement.atOf(inode);
  const mode = tree.mode.at(inode);
  const type = mode & S_IFMT;
  const xattrSize = tree.xattrSize.at(inode);
  let layout: number = DATA_LAYOUT.flatPlain;
  let union = 0;
  if (type === S_IFREG) {
    layout = DATA_LAYOUT.chunkBased;
    union = CHUNK_FORMAT_INDEXES | emission.chunkFormatBits;
  } else if (type === S_IFDIR || type === S_IFLNK) {
    if (placement.isInline(inode)) layout = DATA_LAYOUT.flatInline;
    union = placement.blockOf(inode);
  } else if (isDevice(mode)) {
    union = tree.rdev.at(inode);
  }
  view.setUint16(at + EXTENDED.format, (layout << 1) | 1, true);
  const slots = xattrSize === 0 ? 0 : (xattrSize - XATTR.HEADER_SIZE) / XATTR.ENTRY_SIZE + 1;
  view.setUint16(at + EXTENDED.xattrCount, slots, true);
  view.setUint16(at + EXTENDED.mode, mode, true);
  writeU64(view, at + EXTENDED.size, tree.size.at(inode));
  view.setUint32(at + EXTENDED.union, union, true);
  view.setUint32(at + EXTENDED.ino, inode + 1, true);
  view.setUint32(at + EXTENDED.uid, tree.uid.at(inode), true);
  view.setUint32(at + EXTENDED.gid, tree.gid.at(inode), true);
  view.setBigInt64(at + EXTENDED.mtime, BigInt(tree.mtime.at(inode)), true);
  view.setUint32(at + EXTENDED.mtimeNsec, tree.mtimeNsec.at(inode), true);
  view.setUint32(at + EXTENDED.nlink, tree.shownNlink.get(inode) ?? tree.nlink.at(inode), true);
}

/** Writes the blocks of a directory, the last of them to `tailAt` when it stands behind the inode. */
function emitDirectory(emission: Emission, inode: number, tailAt: number): void {
  const { tree, sorted, placement, block } = emission;
  const rows = sorted.of(inode);
  let index = 0;
  for (let from = 0; from < rows.length; index++) {
    let used = 0, to = from;
    for (; to < rows.length; to++) {
      const need = DIRENT.SIZE + tree.nameSize.at(rows[to] as number);
      if (used + need > block) break;
      used += need;
    }
    const isTail = to === rows.length && placement.isInline(inode);
    emitDirectoryBlock(emission, rows.subarray(from, to), isTail ? tailAt : (placement.blockOf(inode) + index) * block);
    from = to;
  }
}

function emitDirectoryBlock(emission: Emission, rows: Uint32Array, at: number): void {
  const { tree, image, view, nid } = emission;
  const names = tree.names.bytes;
  let nameAt = rows.length * DIRENT.SIZE;
  rows.forEach((row, k) => {
    const inode = tree.entryInode.at(row);
    const size = tree.nameSize.at(row);
    const entry = at + k * DIRENT.SIZE;
    writeU64(view, entry + DIRENT.nid, nid(inode));
    view.setUint16(entry + DIRENT.nameOffset, nameAt, true);
    view.setUint8(entry + DIRENT.type, erofsTypeOf(tree.mode.at(inode)));
    copyBytes(names, tree.nameAt.at(row), size, image, at + nameAt);
    nameAt += size;
  });
}
