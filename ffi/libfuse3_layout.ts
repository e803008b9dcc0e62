/**
 * Structs of libfuse3's low-level interface, whose layouts depend on the library version.
 *
 * | fuse_version() | soname | differs in |
 * |---|---|---|
 * | 3.10 … 3.14 | libfuse3.so.3 (Debian 12: 3.14.0) | - |
 * | 3.15, 3.16 | libfuse3.so.3 | `parallel_direct_writes` precedes `nonseekable`: two bits of fuse_file_info move |
 * | 3.17, 3.18 | libfuse3.so.4 (Debian 13: 3.17.2) | it is last again; fuse_buf, fuse_file_info and the operations grow |
 *
 * Source: fuse_common.h and fuse_lowlevel.h of libfuse 3.10.0, 3.12.0, 3.14.0, 3.15.0, 3.16.2, 3.17.2 and 3.18.0, with
 * offsets printed by a C compiler. Everything not in {@link FuseLayout} is the same in all of them.
 *
 * @module
 */
import { BLOCK_SIZE, blocksOf, type FileAttributes, setInt64 } from "./fuse_kernel.ts";
import type { Machine } from "./machine.ts";

/** Layout that differs between versions of the library. Sizes and offsets are in bytes. */
export interface FuseLayout {
  readonly soname: "libfuse3.so.3" | "libfuse3.so.4";
  /** sizeof(struct fuse_buf). */
  readonly fuseBuf: number;
  /** sizeof(struct fuse_file_info). */
  readonly fileInfo: number;
  /** Bits of the word at offset 4 of struct fuse_file_info. */
  readonly keepCache: number;
  readonly cacheReaddir: number;
  readonly directIo: number;
  /** sizeof(struct fuse_lowlevel_ops) / 8. */
  readonly operations: number;
}

const SO3: FuseLayout = {
  soname: "libfuse3.so.3",
  fuseBuf: 40,
  fileInfo: 40,
  directIo: 1 << 1,
  keepCache: 1 << 2,
  cacheReaddir: 1 << 6,
  operations: 44,
};
const SO3_PARALLEL_WRITES: FuseLayout = { ...SO3, cacheReaddir: 1 << 7 };
const SO4: FuseLayout = { ...SO3, soname: "libfuse3.so.4", fuseBuf: 48, fileInfo: 64, operations: 45 };

/**
 * Returns the layout of `soname` for the result of `fuse_version()` (314 for 3.14), undefined for an unknown version.
 */
export function layoutOf(soname: string, version: number): FuseLayout | undefined {
  const layout = version >= 310 && version <= 314
    ? SO3
    : version === 315 || version === 316
    ? SO3_PARALLEL_WRITES
    : version === 317 || version === 318
    ? SO4
    : undefined;
  return layout?.soname === soname ? layout : undefined;
}

/** Order of the members of `struct fuse_lowlevel_ops`; `tmpfile` exists since 3.17. */
export const OPERATION_ORDER = [
  ..."init destroy lookup forget getattr setattr readlink mknod mkdir unlink rmdir symlink rename link open".split(" "),
  ..."read write flush release fsync opendir readdir releasedir fsyncdir statfs setxattr getxattr listxattr".split(" "),
  ..."removexattr access create getlk setlk bmap ioctl poll write_buf retrieve_reply forget_multi flock".split(" "),
  ..."fallocate readdirplus copy_file_range lseek tmpfile".split(" "),
] as const;

/** `struct fuse_buf`. 3.17 added `mem_size` at 40. */
export const FUSE_BUF = { size: 0, flags: 8, mem: 16, fd: 24, pos: 32, memSize: 40 } as const;

/** `struct fuse_args`: arguments parsed by fuse_session_new(). */
export const FUSE_ARGS = { SIZE: 24, argc: 0, argv: 8, allocated: 16 } as const;

/** `struct libfuse_version` (3.17): four u32. */
export const LIBFUSE_VERSION_SIZE = 16;

/** `struct fuse_file_info`. The bit field at 4 is described by {@link FuseLayout}. */
export const FILE_INFO = { flags: 0, bits: 4, fh: 16 } as const;

/** `struct fuse_conn_info`: a u32 at each offset. This part is the same in every version. */
export const CONN_INFO = {
  SIZE: 128,
  protoMajor: 0,
  protoMinor: 4,
  maxWrite: 8,
  maxRead: 12,
  maxReadahead: 16,
  capable: 20,
  want: 24,
  maxBackground: 28,
  congestionThreshold: 32,
  timeGran: 36,
} as const;

/** FUSE_CAP_* bits of `capable` and `want`. */
export const FUSE_CAP = {
  asyncRead: 1 << 0,
  atomicOTrunc: 1 << 3,
  spliceWrite: 1 << 7,
  spliceMove: 1 << 8,
  spliceRead: 1 << 9,
  autoInvalData: 1 << 12,
  readdirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  asyncDio: 1 << 15,
  noOpenSupport: 1 << 17,
  parallelDirops: 1 << 18,
  cacheSymlinks: 1 << 23,
  noOpendirSupport: 1 << 24,
} as const;

/** Byte offsets of `struct stat` on one architecture (glibc bits/struct_stat.h), and the width of st_nlink. */
export interface StatLayout {
  readonly SIZE: number;
  readonly ino: number;
  readonly nlink: number;
  readonly nlinkBytes: 4 | 8;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  readonly blksize: number;
  readonly blocks: number;
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

/** `struct stat` of each machine. */
export const STAT_LAYOUTS: Readonly<Record<Machine, StatLayout>> = {
  x86_64: {
    SIZE: 144,
    ino: 8,
    nlink: 16,
    nlinkBytes: 8,
    mode: 24,
    uid: 28,
    gid: 32,
    rdev: 40,
    size: 48,
    blksize: 56,
    blocks: 64,
    atime: 72,
    mtime: 88,
    ctime: 104,
  },
  aarch64: {
    SIZE: 128,
    ino: 8,
    nlink: 20,
    nlinkBytes: 4,
    mode: 16,
    uid: 24,
    gid: 28,
    rdev: 32,
    size: 48,
    blksize: 56,
    blocks: 64,
    atime: 72,
    mtime: 88,
    ctime: 104,
  },
};

/** Fills a zeroed `struct stat`. All three times are set to the file's mtime. */
export function writeStat(view: DataView, base: number, layout: StatLayout, attr: FileAttributes): void {
  setInt64(view, base + layout.ino, attr.ino);
  if (layout.nlinkBytes === 8) setInt64(view, base + layout.nlink, attr.nlink);
  else view.setUint32(base + layout.nlink, attr.nlink, true);
  view.setUint32(base + layout.mode, attr.mode, true);
  view.setUint32(base + layout.uid, attr.uid, true);
  view.setUint32(base + layout.gid, attr.gid, true);
  setInt64(view, base + layout.rdev, attr.rdev);
  setInt64(view, base + layout.size, attr.size);
  view.setUint32(base + layout.blksize, BLOCK_SIZE, true);
  setInt64(view, base + layout.blocks, blocksOf(attr.size));
  for (const time of [layout.atime, layout.mtime, layout.ctime]) {
    setInt64(view, base + time, attr.mtime);
    setInt64(view, base + time + 8, attr.mtimeNsec);
  }
}

/**
 * `struct fuse_entry_param` with an embedded `struct stat`: u64 ino, u64 generation, stat, f64 attr_timeout, f64
 * entry_timeout.
 */
export function entryParamLayout(stat: StatLayout): EntryParamLayout {
  return { SIZE: 32 + stat.SIZE, ino: 0, attr: 16, attrTimeout: 16 + stat.SIZE, entryTimeout: 24 + stat.SIZE };
}

/** Byte offsets of `struct fuse_entry_param`. */
export interface EntryParamLayout {
  readonly SIZE: number;
  readonly ino: number;
  readonly attr: number;
  readonly attrTimeout: number;
  readonly entryTimeout: number;
}

/** `struct statvfs`, the same on x86-64 and arm64: a u64 at each offset. */
export const STATVFS = {
  SIZE: 112,
  bsize: 0,
  frsize: 8,
  blocks: 16,
  bfree: 24,
  bavail: 32,
  files: 40,
  ffree: 48,
  favail: 56,
  fsid: 64,
  flag: 72,
  namemax: 80,
} as const;
