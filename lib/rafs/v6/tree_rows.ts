/**
 * Rows of a tree under construction, one column per property. All columns grow together, so that a row is written by
 * plain stores. Growing replaces the columns: do not keep a reference to one while adding rows.
 *
 * @module
 */

/** Initial capacity in rows. */
const ROOM = 1024;

/** Rows of inodes. */
export class InodeRows {
  length = 0;
  mode = new Uint32Array(ROOM);
  uid = new Uint32Array(ROOM);
  gid = new Uint32Array(ROOM);
  rdev = new Uint32Array(ROOM);
  mtime = new BigInt64Array(ROOM);
  mtimeNsec = new Uint32Array(ROOM);
  size = new Float64Array(ROOM);
  /** Link count derived from the names. */
  nlink = new Uint32Array(ROOM);
  /** Link count to write instead; -1 for none. */
  shownNlink = new Float64Array(ROOM);
  /** Row of a directory's ".." entry. */
  dotDot = new Uint32Array(ROOM);
  /** Xattr area and content (link target or chunk indexes): ranges of the tree's bytes. */
  xattrAt = new Uint32Array(ROOM);
  xattrSize = new Uint32Array(ROOM);
  contentAt = new Uint32Array(ROOM);
  contentSize = new Uint32Array(ROOM);

  /** Adds a row and returns it. */
  add(): number {
    if (this.length === this.mode.length) this.reserve(this.length * 2);
    return this.length++;
  }

  /** Makes room for `count` rows in all, which are at least those that there are. */
  reserve(count: number): void {
    this.mode = resized(this.mode, count);
    this.uid = resized(this.uid, count);
    this.gid = resized(this.gid, count);
    this.rdev = resized(this.rdev, count);
    this.mtime = resized(this.mtime, count);
    this.mtimeNsec = resized(this.mtimeNsec, count);
    this.size = resized(this.size, count);
    this.nlink = resized(this.nlink, count);
    this.shownNlink = resized(this.shownNlink, count);
    this.dotDot = resized(this.dotDot, count);
    this.xattrAt = resized(this.xattrAt, count);
    this.xattrSize = resized(this.xattrSize, count);
    this.contentAt = resized(this.contentAt, count);
    this.contentSize = resized(this.contentSize, count);
  }
}

/** Rows of names in directories. */
export class EntryRows {
  length = 0;
  directory = new Uint32Array(ROOM);
  inode = new Uint32Array(ROOM);
  /** Range of the tree's names. */
  nameAt = new Uint32Array(ROOM);
  nameSize = new Uint32Array(ROOM);

  /** Adds a row and returns it. */
  add(): number {
    if (this.length === this.directory.length) this.reserve(this.length * 2);
    return this.length++;
  }

  /** Makes room for `count` rows in all, which are at least those that there are. */
  reserve(count: number): void {
    this.directory = resized(this.directory, count);
    this.inode = resized(this.inode, count);
    this.nameAt = resized(this.nameAt, count);
    this.nameSize = resized(this.nameSize, count);
  }
}

type Column = Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;

function resized<T extends Column>(column: T, count: number): T {
  const grown = column.buffer.transfer(column.BYTES_PER_ELEMENT * count); // frees the old buffer at once
  return new (column.constructor as new (buffer: ArrayBuffer) => T)(grown);
}
