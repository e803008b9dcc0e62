/**
 * Directories of RAFS v6: sorted blocks of 12-byte entries followed by their names.
 *
 * Entries, including "." and "..", are sorted bytewise across the whole directory. A lookup is a binary search over the
 * first names of the blocks and then inside one block; it allocates nothing.
 *
 * A directory may only be entered from the parent that its ".." names, and its "." must name itself. This guarantees
 * that everything reachable from the root is a tree, by checking two directories at a time.
 *
 * @module
 */
import { readU16 } from "../../base/bytes.ts";
import { DOT, hasSlashOrNul, isDots, PARENT_NAME } from "../../base/path_bytes.ts";
import type { DirVisitor, RangeVisitor } from "../bootstrap.ts";
import { compareRange, compareRanges, isCookie, readU64, unreadable } from "../format/guard.ts";
import { dirTypeOf, DT_DIR, S_IFDIR, S_IFMT } from "../format/inode_mode.ts";
import type { InodeCursor } from "./inode.ts";
import { DIRENT, NAME_MAX } from "./layout.ts";

const WHAT = "RAFS v6 directory block";

/** Cookies reserve 512 positions per block; a 4096-byte block has at most 341 entries. */
const COOKIES_PER_BLOCK = 512;

/** Cursor over the blocks of a directory and the names in a block. */
class DirectoryBlock {
  /** Offset of the block. */
  at = 0;
  length = 0;
  /** Entries in the block. */
  count = 0;
  /** Range of the located name. */
  nameStart = 0;
  nameEnd = 0;

  constructor(private readonly bytes: Uint8Array, private readonly view: DataView) {}

  /** Moves to a block of the directory loaded in the cursor. */
  enter(inode: InodeCursor, block: number): void {
    this.at = inode.blockAt(block);
    this.length = inode.blockLength(block);
    if (this.length < DIRENT.SIZE) unreadable(WHAT, this.at, `block has ${this.length} bytes`);
    const namesAt = readU16(this.view, this.at + DIRENT.nameOffset);
    if (namesAt < DIRENT.SIZE || namesAt >= this.length || namesAt % DIRENT.SIZE !== 0) {
      unreadable(WHAT, this.at, `names start at ${namesAt} of ${this.length} bytes`);
    }
    this.count = namesAt / DIRENT.SIZE;
  }

  /** Offset of entry `k`. */
  entryAt(k: number): number {
    return this.at + k * DIRENT.SIZE;
  }

  nid(k: number): number {
    return readU64(this.view, this.entryAt(k) + DIRENT.nid, WHAT);
  }

  /** Locates the name of entry `k`. */
  locate(k: number): void {
    const entry = this.entryAt(k);
    const start = readU16(this.view, entry + DIRENT.nameOffset);
    let end: number;
    if (k + 1 < this.count) {
      end = readU16(this.view, entry + DIRENT.SIZE + DIRENT.nameOffset);
    } else {
      const limit = Math.min(this.length, start + NAME_MAX + 1);
      end = start;
      while (end < limit && this.bytes[this.at + end] !== 0) end++;
    }
    if (start < this.count * DIRENT.SIZE || start >= end || end > this.length || end - start > NAME_MAX) {
      unreadable(WHAT, entry, `name ${k} runs from ${start} to ${end} of ${this.length} bytes`);
    }
    this.nameStart = this.at + start;
    this.nameEnd = this.at + end;
  }

  /** memcmp of the name of entry `k` and `name`. */
  compare(k: number, name: Uint8Array): number {
    this.locate(k);
    return compareRange(this.bytes, this.nameStart, this.nameEnd, name);
  }
}

/** Reads directories. It reloads the given cursor as needed. */
export class DirectoryReader {
  readonly #probe: DirectoryBlock;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly view: DataView,
    private readonly inode: InodeCursor,
  ) {
    this.#probe = new DirectoryBlock(bytes, view);
  }

  /** Nid of `name` in `dir`, 0 if there is none. */
  lookup(dir: number, name: Uint8Array): number {
    if (name.length === 0 || name.length > NAME_MAX || isDots(name)) return 0;
    const nid = this.#find(dir, name);
    if (nid === 0) return 0;
    this.inode.load(nid);
    if ((this.inode.mode & S_IFMT) === S_IFDIR) this.#checkParent(nid, dir);
    return nid;
  }

  /** Calls `visit` for every entry from `cookie` on, except "." and "..". The visitor may use the reader. */
  readdir(dir: number, cookie: number, visit: DirVisitor): void {
    const { bytes } = this;
    this.list(dir, cookie, (start, end, nid, type, next) => visit(bytes.subarray(start, end), nid, type, next));
  }

  /** Like {@link readdir}, but passes each name as a range of the image's bytes. */
  list(dir: number, cookie: number, visit: RangeVisitor): void {
    if (!isCookie(cookie)) return;
    const block = new DirectoryBlock(this.bytes, this.view);
    this.inode.loadDirectory(dir);
    const blocks = this.inode.blockCount;
    let previousStart = 0, previousEnd = 0;
    let k = cookie % COOKIES_PER_BLOCK;
    for (let index = Math.floor(cookie / COOKIES_PER_BLOCK); index < blocks; index++, k = 0) {
      this.inode.loadDirectory(dir);
      block.enter(this.inode, index);
      for (; k < block.count; k++) {
        block.locate(k);
        const start = block.nameStart, end = block.nameEnd;
        if (previousEnd > 0 && compareRanges(this.bytes, previousStart, previousEnd, start, end) >= 0) {
          unreadable(WHAT, block.entryAt(k), "names are not in ascending order");
        }
        previousStart = start;
        previousEnd = end;
        const type = this.#checkEntry(block, k, dir);
        if (type === undefined) continue;
        const next = k + 1 < block.count ? index * COOKIES_PER_BLOCK + k + 1 : (index + 1) * COOKIES_PER_BLOCK;
        if (!visit(start, end, block.nid(k), type, next)) return;
      }
    }
  }

  /** DT_* of the located entry `k`, undefined for "." and "..". */
  #checkEntry(block: DirectoryBlock, k: number, dir: number): number | undefined {
    const { bytes } = this;
    const { nameStart, nameEnd } = block;
    const entry = block.entryAt(k);
    const code = bytes[entry + DIRENT.type] as number;
    const type = dirTypeOf(code) ?? unreadable(WHAT, entry, `file type is ${code}`);
    if (bytes[nameStart] === DOT) {
      if (nameEnd - nameStart === 1) {
        if (block.nid(k) !== dir) unreadable(WHAT, entry, `"." is nid ${block.nid(k)}, the directory is nid ${dir}`);
        return undefined;
      }
      if (nameEnd - nameStart === 2 && bytes[nameStart + 1] === DOT) return undefined;
    }
    if (hasSlashOrNul(bytes, nameStart, nameEnd)) unreadable(WHAT, entry, "name contains a slash or NUL");
    if (type === DT_DIR) this.#checkParent(block.nid(k), dir);
    return type;
  }

  #checkParent(child: number, parent: number): void {
    const up = this.#find(child, PARENT_NAME);
    if (up !== parent) {
      unreadable(
        WHAT,
        this.#probe.at,
        `".." of directory nid ${child} is nid ${up}, it was reached from nid ${parent}`,
      );
    }
  }

  #find(dir: number, name: Uint8Array): number {
    const block = this.#probe;
    this.inode.loadDirectory(dir);
    // Invariant of both searches: names before `low` are less than `name`, names from `high` on are greater.
    let low = 0, high = this.inode.blockCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      block.enter(this.inode, middle);
      const order = block.compare(0, name);
      if (order === 0) return block.nid(0);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return 0;
    block.enter(this.inode, low - 1);
    low = 1;
    high = block.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = block.compare(middle, name);
      if (order === 0) return block.nid(middle);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return 0;
  }
}
