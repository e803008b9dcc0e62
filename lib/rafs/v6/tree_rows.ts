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

type Column = Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;

function doubled<T extends Column>(column: T): T {
  const grown = column.buffer.transfer(column.byteLength * 2); // frees the old buffer at once
  return new (column.constructor as new (buffer: ArrayBuffer) => T)(grown);
}
