/**
 * Rows of a tree in the making: a column for each property, all of which grow together, so that a row is written by plain
 * stores. Columns are replaced when they grow: whoever keeps one must not add rows meanwhile.
 *
 * @module
 */

/** Rows that there is room for at first. */
const ROOM = 1024;

/** Inodes. */
export class InodeRows {
  length = 0;
  mode = new Uint32Array(ROOM);
  uid = new Uint32Array(ROOM);
  gid = new Uint32Array(ROOM);
  rdev = new Uint32Array(ROOM);
  mtime = new Float64Array(ROOM);
  mtimeNsec = new Uint32Array(ROOM);
  size = new Float64Array(ROOM);
  /** As the names make it. */
  nlink = new Uint32Array(ROOM);
  /** What is written in its place; -1: nothing else. */
  shownNlink = new Float64Array(ROOM);
  /** Row of the entry ".." of a directory. */
  dotDot = new Uint32Array(ROOM);
  /** Xattr area and content (link target, chunk indexes) in the bytes of the tree. */
  xattrAt = new Uint32Array(ROOM);
  xattrSize = new Uint32Array(ROOM);
  contentAt = new Uint32Array(ROOM);
  contentSize = new Uint32Array(ROOM);

  /** Makes room for one more row and counts it. */
  add(): number {
    if (this.length === this.mode.length) this.#grow();
    return this.length++;
  }

  #grow(): void {
    this.mode = doubled(this.mode);
    this.uid = doubled(this.uid);
    this.gid = doubled(this.gid);
    this.rdev = doubled(this.rdev);
    this.mtime = doubled(this.mtime);
    this.mtimeNsec = doubled(this.mtimeNsec);
    this.size = doubled(this.size);
    this.nlink = doubled(this.nlink);
    this.shownNlink = doubled(this.shownNlink);
    this.dotDot = doubled(this.dotDot);
    this.xattrAt = doubled(this.xattrAt);
    this.xattrSize = doubled(this.xattrSize);
    this.contentAt = doubled(this.contentAt);
    this.contentSize = doubled(this.contentSize);
  }
}

/** Names in directories. */
export class EntryRows {
  length = 0;
  directory = new Uint32Array(ROOM);
  inode = new Uint32Array(ROOM);
  /** In the names of the tree. */
  nameAt = new Uint32Array(ROOM);
  nameSize = new Uint32Array(ROOM);

  /** Makes room for one more row and counts it. */
  add(): number {
    if (this.length === this.directory.length) this.#grow();
    return this.length++;
  }

  #grow(): void {
    this.directory = doubled(this.directory);
    this.inode = doubled(this.inode);
    this.nameAt = doubled(this.nameAt);
    this.nameSize = doubled(this.nameSize);
  }
}

function doubled<T extends Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(column: T): T {
  const grown = column.buffer.transfer(column.byteLength * 2); // what is left behind would wait for a collection
  return new (column.constructor as new (buffer: ArrayBuffer) => T)(grown);
}
