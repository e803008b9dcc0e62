/**
 * Inodes of RAFS v5: a 128-byte record, then name, symbolic link target, xattrs and chunk infos.
 *
 * Every directory entry has a record with its own index (1-based, root 1). The record's `ino` equals its index, except
 * for further names of a hard link, whose `ino` is the index of the first name. {@link InodeCursor} is loaded with one
 * record at a time and allocates nothing.
 *
 * @module
 */
import type { InodeAttr } from "../bootstrap.ts";
import { CHUNK_INFO } from "../format/chunk_info.ts";
import { readSeconds, readU64, unreadable } from "../format/guard.ts";
import { isDevice, isKnownType, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../format/inode_mode.ts";
import { INODE, INODE_FLAG, NAME_MAX, PATH_MAX, SUPER, UNIT } from "./layout.ts";
import type { SuperBlock } from "./super_block.ts";

const WHAT = "RAFS v5 inode";

const padded = (size: number) => Math.ceil(size / UNIT) * UNIT;

/** Cursor over inode records. All offsets are byte offsets in the image. */
export class InodeCursor {
  /** Index of the record. */
  index = 0;
  at = 0;
  ino = 0;
  mode = 0;
  nameSize = 0;
  childIndex = 0;
  /** Children of a directory, chunks of a regular file. */
  childCount = 0;

  constructor(private readonly view: DataView, private readonly sb: SuperBlock) {}

  /** Loads the record with this index and checks that the record, its name and its target lie inside the image. */
  loadRecord(index: number): void {
    const { view, sb } = this;
    if (!Number.isSafeInteger(index) || index < 1 || index > sb.inodeEntries) {
      unreadable(
        "RAFS v5 inode table",
        sb.inodeTable.at,
        `inode ${index} is missing, the table has ${sb.inodeEntries} entries`,
      );
    }
    const at = view.getUint32(sb.inodeTable.at + (index - 1) * 4, true) * UNIT;
    if (at < SUPER.SIZE || at + INODE.SIZE > view.byteLength) {
      unreadable(WHAT, at, `inode ${index} is outside the image of ${view.byteLength} bytes`);
    }
    this.index = index;
    this.at = at;
    this.ino = readU64(view, at + INODE.ino, WHAT);
    this.mode = view.getUint32(at + INODE.mode, true);
    this.nameSize = view.getUint16(at + INODE.nameSize, true);
    this.childIndex = view.getUint32(at + INODE.childIndex, true);
    this.childCount = view.getUint32(at + INODE.childCount, true);
    this.#check();
  }

  /** Loads inode `ino`, which is the record of its first name. */
  load(ino: number): void {
    this.loadRecord(ino);
    if (this.ino !== ino) unreadable(WHAT, this.at, `ino is ${this.ino}, expected ${ino}`);
  }

  /** Like {@link load}, but fails if the inode is not a directory. */
  loadDirectory(ino: number): void {
    this.load(ino);
    if (!this.isDirectory) unreadable(WHAT, this.at, `mode is 0${this.mode.toString(8)}, expected a directory`);
  }

  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  get isRegular(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  get isSymlink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }

  get parent(): number {
    return readU64(this.view, this.at + INODE.parent, WHAT);
  }

  /** Bytes of content. */
  get size(): number {
    return readU64(this.view, this.at + INODE.size, WHAT);
  }

  get flags(): number {
    return this.view.getUint32(this.at + INODE.flags, true);
  }

  get nameAt(): number {
    return this.at + INODE.SIZE;
  }

  get targetAt(): number {
    return this.nameAt + padded(this.nameSize);
  }

  get targetSize(): number {
    return this.isSymlink ? this.view.getUint16(this.at + INODE.symlinkSize, true) : 0;
  }

  /** Offset of the xattr table, if {@link xattrSize} is defined. */
  get xattrAt(): number {
    return this.targetAt + padded(this.targetSize);
  }

  /** Bytes of the pairs in the xattr table, after the 8-byte size field. Undefined without a table. */
  get xattrSize(): number | undefined {
    if ((this.flags & INODE_FLAG.xattr) === 0) return undefined;
    const at = this.xattrAt;
    if (at + 8 > this.view.byteLength) unreadable("RAFS v5 xattrs", at, "they are outside the image");
    const size = readU64(this.view, at, "RAFS v5 xattrs");
    if (at + 8 + size > this.view.byteLength) unreadable("RAFS v5 xattrs", at, `${size} bytes reach beyond the image`);
    return size;
  }

  /** Offset of the chunk infos of a regular file. Checks that they lie inside the image. */
  get chunksAt(): number {
    const xattrs = this.xattrSize;
    const at = this.xattrAt + (xattrs === undefined ? 0 : 8 + padded(xattrs));
    if (at + this.childCount * CHUNK_INFO.SIZE > this.view.byteLength) {
      unreadable("RAFS v5 chunk infos", at, `${this.childCount} chunk infos reach beyond the image`);
    }
    return at;
  }

  /** End of the record, including everything that belongs to it. */
  get end(): number {
    if (this.isRegular) return this.chunksAt + this.childCount * CHUNK_INFO.SIZE;
    const xattrs = this.xattrSize;
    return this.xattrAt + (xattrs === undefined ? 0 : 8 + padded(xattrs));
  }

  /** Fills `out` from the loaded record. */
  attr(out: InodeAttr): void {
    const { view, at } = this;
    out.ino = this.ino;
    out.mode = this.mode;
    out.nlink = view.getUint32(at + INODE.nlink, true);
    out.uid = view.getUint32(at + INODE.uid, true);
    out.gid = view.getUint32(at + INODE.gid, true);
    out.rdev = isDevice(this.mode) ? view.getUint32(at + INODE.rdev, true) : 0;
    out.size = this.size;
    out.mtime = readSeconds(view, at + INODE.mtime);
    out.mtimeNsec = view.getUint32(at + INODE.mtimeNsec, true);
    if (out.mtimeNsec >= 1_000_000_000) unreadable(WHAT, at, `mtime has ${out.mtimeNsec} nanoseconds`);
  }

  #check(): void {
    const { view, at, index, mode } = this;
    if (mode > 0xffff || !isKnownType(mode)) unreadable(WHAT, at, `mode is 0${mode.toString(8)}, not a file type`);
    if (this.ino === 0 || this.ino > this.sb.inodeEntries) {
      unreadable(WHAT, at, `ino is ${this.ino}, the table has ${this.sb.inodeEntries} entries`);
    }
    if (this.ino !== index && this.isDirectory) unreadable(WHAT, at, `directory ${index} has ino ${this.ino}`);
    if (this.nameSize === 0 || this.nameSize > NAME_MAX) {
      unreadable(WHAT, at, `name has ${this.nameSize} bytes, expected 1 to ${NAME_MAX}`);
    }
    if (this.isSymlink && (this.targetSize === 0 || this.targetSize > PATH_MAX)) {
      unreadable(WHAT, at, `symbolic link has ${this.targetSize} bytes, expected 1 to ${PATH_MAX}`);
    }
    if (this.xattrAt > view.byteLength) unreadable(WHAT, at, "it reaches beyond the end of the image");
    if (this.isDirectory && this.childCount > 0) {
      // Children follow their directory, so a walk downwards cannot loop.
      if (this.childIndex <= index || this.childIndex + this.childCount - 1 > this.sb.inodeEntries) {
        unreadable(
          WHAT,
          at,
          `children ${this.childIndex} to ${this.childIndex + this.childCount - 1} of inode ${index} are not among ` +
            `${index + 1} to ${this.sb.inodeEntries}`,
        );
      }
    }
  }
}
