/**
 * The FUSE protocol: the messages read from and written to /dev/fuse.
 *
 * ```
 * request   struct fuse_in_header  (40 bytes), then the operation's own struct and names
 * reply     struct fuse_out_header (16 bytes), then the operation's own struct or data
 * notice    a reply with unique 0 and the notice's code in place of the errno
 * ```
 * libfuse3 parses requests and writes most replies (libfuse3.ts). This file covers the rest: cloning the device,
 * keeping requests for a successor process, and directory listings, which are encoded without a call into C per entry.
 *
 * Source: linux/fuse.h 7.45 (Linux 6.18). Numbers are little-endian on every machine on which Deno runs.
 *
 * @module
 */

/** `FUSE_DEV_IOC_CLONE`, _IOR(229, 0, uint32_t): attaches a newly opened /dev/fuse to an existing session. */
export const FUSE_DEV_IOC_CLONE = 0x8004e500;

/** `enum fuse_opcode`, only the operations that are distinguished before libfuse parses them. */
export const FUSE_OPCODE = { FORGET: 2, INIT: 26, INTERRUPT: 36, BATCH_FORGET: 42 } as const;

/** `struct fuse_in_header`: byte offsets. */
export const FUSE_IN_HEADER = {
  SIZE: 40,
  len: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
} as const;

/** `struct fuse_init_in`, after the header of INIT: byte offset of flags2 in the request. */
const INIT_FLAGS2 = FUSE_IN_HEADER.SIZE + 16;
/** `FUSE_HAS_RESEND` (1 << 39) as a bit of flags2. Linux 6.9. */
const HAS_RESEND = 1 << 7;
/** `FUSE_ALLOW_IDMAP` (1 << 40) as a bit of flags2. Linux 6.12. */
const ALLOW_IDMAP = 1 << 8;

/** Whether the kernel that sent this INIT supports {@link RESEND_NOTICE}. */
export function hasResend(init: Uint8Array): boolean {
  return offers(init, HAS_RESEND);
}

/** Whether the kernel that sent this INIT can map the owners of a FUSE mount ({@link allowIdmap}). */
export function hasIdmap(init: Uint8Array): boolean {
  return offers(init, ALLOW_IDMAP);
}

function offers(init: Uint8Array, flag: number): boolean {
  if (init.length < INIT_FLAGS2 + 4) return false;
  return (new DataView(init.buffer, init.byteOffset).getUint32(INIT_FLAGS2, true) & flag) !== 0;
}

/** `struct fuse_out_header` and `struct fuse_init_out` after it, the reply to INIT: byte offsets. */
const INIT_REPLY = { SIZE: 80, error: 4, flags: 28, flags2: 48 } as const;
/** `FUSE_INIT_EXT`: flags2 counts. */
const INIT_EXT = 1 << 30;

/**
 * Allows, in a reply to INIT, mounts of the session that map owners. The kernel then checks permissions
 * (`default_permissions` is required), and sends no ids with requests that create nothing.
 */
export function allowIdmap(reply: Uint8Array): void {
  const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength);
  if (reply.length < INIT_REPLY.SIZE || view.getInt32(INIT_REPLY.error, true) !== 0) return;
  const flags = view.getUint32(INIT_REPLY.flags, true);
  const flags2 = (flags & INIT_EXT) === 0 ? 0 : view.getUint32(INIT_REPLY.flags2, true);
  view.setUint32(INIT_REPLY.flags, (flags | INIT_EXT) >>> 0, true);
  view.setUint32(INIT_REPLY.flags2, (flags2 | ALLOW_IDMAP) >>> 0, true);
}

/**
 * `FUSE_NOTIFY_RESEND`: makes the kernel resend every request that was read from the connection or its clones but not
 * answered, with the highest bit of `unique` set. Write it to the device before the first read. EINVAL before Linux
 * 6.9.
 */
export const RESEND_NOTICE: Uint8Array<ArrayBuffer> = new Uint8Array(
  new Uint32Array([16, 7, 0, 0]).buffer, // struct fuse_out_header: len, error (the notice's code), unique
);

/** Minimum read(2) size that the kernel accepts on /dev/fuse, FUSE_MIN_READ_BUFFER. */
export const FUSE_MIN_READ_BUFFER = 8192;

/** Node id of the root of a mount. */
export const FUSE_ROOT_ID = 1n;

/** Inode number for "unknown" in a directory entry: the kernel makes one up. */
export const FUSE_UNKNOWN_INO = 0xffffffff;

/** Maximum bytes of a name in a directory entry: NAME_MAX of linux/limits.h. */
export const NAME_MAX = 255;

/** `struct fuse_dirent`: 24 bytes, then the name, padded to 8. */
const DIRENT = { SIZE: 24, ino: 0, off: 8, namelen: 16, type: 20 } as const;

/** `struct fuse_entry_out`, which precedes the dirent in a READDIRPLUS reply; its fuse_attr starts at 40. */
const ENTRY_OUT = {
  SIZE: 128,
  nodeid: 0,
  generation: 8,
  entryValid: 16,
  attrValid: 24,
  entryValidNsec: 32,
  attrValidNsec: 36,
  ino: 40,
  size: 48,
  blocks: 56,
  atime: 64,
  mtime: 72,
  ctime: 80,
  atimensec: 88,
  mtimensec: 92,
  ctimensec: 96,
  mode: 100,
  nlink: 104,
  uid: 108,
  gid: 112,
  rdev: 116,
  blksize: 120,
  flags: 124,
} as const;

/** File attributes as shown by stat(2). {@link InodeAttr} of the image formats has the same shape. */
export interface FileAttributes {
  readonly ino: number;
  /** Full st_mode. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** dev_t in the encoding of the kernel's new_encode_dev. */
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  /** Seconds since 1970; negative before. A bigint where a number is not exact. */
  readonly mtime: number | bigint;
  readonly mtimeNsec: number;
}

/** st_blksize of all served files. */
export const BLOCK_SIZE = 4096;

/** st_blocks of a file without holes, in units of 512 bytes. */
export function blocksOf(size: number): number {
  return Math.ceil(size / 512);
}

/** Writes an integer as 64 bits, two's complement: a number with a magnitude of at most 2^53, or a bigint. */
export function setInt64(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === "bigint") return view.setBigInt64(at, value, true);
  view.setUint32(at, value >>> 0, true);
  view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/**
 * Body of a READDIR or READDIRPLUS reply, built entry by entry in one buffer.
 *
 * ```ts
 * const list = new DirectoryListing(buffer);
 * list.reset(4096);
 * if (!list.add(name, ino, type, nextOffset)) break; // full: the kernel asks again from the last offset
 * ```
 */
export class DirectoryListing {
  readonly #view: DataView;
  #limit = 0;
  #used = 0;

  /** @param bytes buffer for the largest listing that the kernel may request */
  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Starts a listing of at most `limit` bytes. */
  reset(limit: number): void {
    this.#limit = Math.min(limit, this.bytes.length);
    this.#used = 0;
  }

  /** Bytes used so far. */
  get used(): number {
    return this.#used;
  }

  /** Whether another entry of a READDIRPLUS listing fits. */
  fitsPlus(name: Uint8Array): boolean {
    return this.#used + ENTRY_OUT.SIZE + direntSize(name) <= this.#limit;
  }

  /** Adds an entry of READDIR. `next` is the offset that continues after it. Returns false when it does not fit. */
  add(name: Uint8Array, ino: number, type: number, next: number): boolean {
    if (this.#used + direntSize(name) > this.#limit) return false;
    this.#dirent(name, ino, type, next);
    return true;
  }

  /**
   * Adds an entry of READDIRPLUS without attributes, for ".", ".." and unreadable inodes. The kernel takes no reference
   * to it. Returns false when it does not fit.
   */
  addPlain(name: Uint8Array, ino: number, type: number, next: number): boolean {
    if (!this.fitsPlus(name)) return false;
    this.bytes.fill(0, this.#used, this.#used + ENTRY_OUT.SIZE);
    this.#used += ENTRY_OUT.SIZE;
    this.#dirent(name, ino, type, next);
    return true;
  }

  /**
   * Adds an entry of READDIRPLUS; the kernel then holds one reference to `node`.
   *
   * @param validSeconds how long the kernel may cache name and attributes, a whole number
   */
  addPlus(name: Uint8Array, node: bigint, attr: FileAttributes, validSeconds: number, next: number): boolean {
    if (!this.fitsPlus(name)) return false;
    const view = this.#view;
    const at = this.#used;
    view.setBigUint64(at + ENTRY_OUT.nodeid, node, true);
    setInt64(view, at + ENTRY_OUT.generation, 0);
    setInt64(view, at + ENTRY_OUT.entryValid, validSeconds);
    setInt64(view, at + ENTRY_OUT.attrValid, validSeconds);
    view.setUint32(at + ENTRY_OUT.entryValidNsec, 0, true);
    view.setUint32(at + ENTRY_OUT.attrValidNsec, 0, true);
    setInt64(view, at + ENTRY_OUT.ino, attr.ino);
    setInt64(view, at + ENTRY_OUT.size, attr.size);
    setInt64(view, at + ENTRY_OUT.blocks, blocksOf(attr.size));
    setInt64(view, at + ENTRY_OUT.atime, attr.mtime);
    setInt64(view, at + ENTRY_OUT.mtime, attr.mtime);
    setInt64(view, at + ENTRY_OUT.ctime, attr.mtime);
    view.setUint32(at + ENTRY_OUT.atimensec, attr.mtimeNsec, true);
    view.setUint32(at + ENTRY_OUT.mtimensec, attr.mtimeNsec, true);
    view.setUint32(at + ENTRY_OUT.ctimensec, attr.mtimeNsec, true);
    view.setUint32(at + ENTRY_OUT.mode, attr.mode, true);
    view.setUint32(at + ENTRY_OUT.nlink, attr.nlink, true);
    view.setUint32(at + ENTRY_OUT.uid, attr.uid, true);
    view.setUint32(at + ENTRY_OUT.gid, attr.gid, true);
    view.setUint32(at + ENTRY_OUT.rdev, attr.rdev, true);
    view.setUint32(at + ENTRY_OUT.blksize, BLOCK_SIZE, true);
    view.setUint32(at + ENTRY_OUT.flags, 0, true);
    this.#used += ENTRY_OUT.SIZE;
    this.#dirent(name, attr.ino, (attr.mode >>> 12) & 0o17, next);
    return true;
  }

  #dirent(name: Uint8Array, ino: number, type: number, next: number): void {
    const at = this.#used;
    const end = at + direntSize(name);
    setInt64(this.#view, at + DIRENT.ino, ino);
    setInt64(this.#view, at + DIRENT.off, next);
    this.#view.setUint32(at + DIRENT.namelen, name.length, true);
    this.#view.setUint32(at + DIRENT.type, type, true);
    this.bytes.set(name, at + DIRENT.SIZE);
    this.bytes.fill(0, at + DIRENT.SIZE + name.length, end);
    this.#used = end;
  }
}

function direntSize(name: Uint8Array): number {
  return (DIRENT.SIZE + name.length + 7) & ~7;
}
