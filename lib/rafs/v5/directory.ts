/**
 * Directories of RAFS v5: consecutive records, sorted by name.
 *
 * @module
 */
import { DOT, hasSlashOrNul, isDots } from "../../base/path_bytes.ts";
import type { DirVisitor, RangeVisitor } from "../bootstrap.ts";
import { compareRange, compareRanges, isCookie, unreadable } from "../format/guard.ts";
import { S_IFMT } from "../format/inode_mode.ts";
import type { InodeCursor } from "./inode.ts";
import { NAME_MAX } from "./layout.ts";

const WHAT = "RAFS v5 inode";

/** Reads directories. It reloads the given cursor as needed. */
export class DirectoryReader {
  constructor(private readonly bytes: Uint8Array, private readonly inode: InodeCursor) {}

  /** Ino of `name` in `dir`, 0 if there is none. */
  lookup(dir: number, name: Uint8Array): number {
    const { inode } = this;
    if (name.length === 0 || name.length > NAME_MAX || isDots(name)) return 0;
    inode.loadDirectory(dir);
    const first = inode.childIndex;
    let low = 0, high = inode.childCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      inode.loadRecord(first + middle);
      const order = compareRange(this.bytes, inode.nameAt, inode.nameAt + inode.nameSize, name);
      if (order === 0) return this.#enter(dir);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return 0;
  }

  /** Calls `visit` for every entry from `cookie` on; a cookie is a position. The visitor may use the reader. */
  readdir(dir: number, cookie: number, visit: DirVisitor): void {
    const { bytes } = this;
    this.list(dir, cookie, (start, end, ino, type, next) => visit(bytes.subarray(start, end), ino, type, next));
  }

  /** Like {@link readdir}, but passes each name as a range of the image's bytes. */
  list(dir: number, cookie: number, visit: RangeVisitor): void {
    if (!isCookie(cookie)) return;
    const { inode, bytes } = this;
    inode.loadDirectory(dir);
    const first = inode.childIndex, count = inode.childCount;
    let previousStart = 0, previousEnd = 0;
    for (let k = cookie; k < count; k++) {
      inode.loadRecord(first + k);
      const at = inode.at, start = inode.nameAt, end = start + inode.nameSize;
      if (previousEnd > 0 && compareRanges(bytes, previousStart, previousEnd, start, end) >= 0) {
        unreadable(WHAT, at, "names of the directory are not in ascending order");
      }
      previousStart = start;
      previousEnd = end;
      this.#checkName(at, start, end);
      const type = (inode.mode & S_IFMT) >> 12;
      if (!visit(start, end, this.#enter(dir), type, k + 1)) return;
    }
  }

  /**
   * Ino of the loaded record. Checks that it is a child of `dir` and that a hard link has the type of its first name.
   */
  #enter(dir: number): number {
    const { inode } = this;
    const { at, index, ino, mode, parent } = inode;
    if (parent !== dir) unreadable(WHAT, at, `parent of inode ${index} is ${parent}, it was reached from ${dir}`);
    if (ino !== index) {
      inode.load(ino);
      if ((inode.mode & S_IFMT) !== (mode & S_IFMT)) {
        unreadable(WHAT, at, `inode ${index} is a hard link to inode ${ino} of another type`);
      }
    }
    return ino;
  }

  #checkName(at: number, start: number, end: number): void {
    const { bytes } = this;
    if (hasSlashOrNul(bytes, start, end)) unreadable(WHAT, at, "name contains a slash or NUL");
    if (bytes[start] === DOT && (end - start === 1 || (end - start === 2 && bytes[start + 1] === DOT))) {
      unreadable(WHAT, at, 'name is "." or ".."');
    }
  }
}
