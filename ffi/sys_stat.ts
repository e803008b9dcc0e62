/**
 * File attributes: reading and setting them.
 *
 * statx(2) replaces the whole stat family, because its struct is the same on every architecture. A device number is one
 * u32 in the encoding of the kernel's new_encode_dev and mknod(2); see {@link major}, {@link minor} and
 * {@link makedev}.
 *
 * Source: linux/stat.h and linux/kdev_t.h, Linux 6.18.
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";
import { AT, type DirFd, rawDir } from "./fcntl.ts";
import { type AnyFd, rawFd } from "./fd.ts";
import { check, failure, loadLibc, type Name, nameArgument, show } from "./libc.ts";
import { MACHINE, type Machine } from "./machine.ts";

/** Bits of st_mode: the type under IFMT, and the bits of chmod(2) besides the nine permission bits. */
export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFLNK: 0o120000,
  IFREG: 0o100000,
  IFBLK: 0o060000,
  IFDIR: 0o040000,
  IFCHR: 0o020000,
  IFIFO: 0o010000,
  ISUID: 0o4000,
  ISGID: 0o2000,
  ISVTX: 0o1000,
} as const;

/** Encodes a device number: 12 bits of major, 20 bits of minor. */
export function makedev(majorNumber: number, minorNumber: number): number {
  if (!(majorNumber >= 0 && majorNumber < 1 << 12 && minorNumber >= 0 && minorNumber < 1 << 20)) {
    throw new RangeError(`Cannot encode device: ${majorNumber}:${minorNumber} exceeds 12:20 bits`);
  }
  return ((minorNumber & 0xff) | (majorNumber << 8) | ((minorNumber & ~0xff) << 12)) >>> 0;
}

/** Major number of a device number. */
export function major(dev: number): number {
  return (dev >>> 8) & 0xfff;
}

/** Minor number of a device number. */
export function minor(dev: number): number {
  return (dev & 0xff) | ((dev >>> 12) & 0xfff00);
}

/** Attributes of a file. */
export interface Stat {
  /** Device number of the file system, see {@link makedev}. */
  dev: number;
  /** A number up to 2^53-1, a bigint above: exact, and equal inodes are `===`. */
  ino: number | bigint;
  /** Type and permission bits, see {@link S}. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** Device number of a device node, otherwise 0. */
  rdev: number;
  /** Bytes. */
  size: number;
  /** Units of 512 bytes. */
  blocks: number;
  /** Seconds since 1970: a number up to ±(2^53 - 1), a bigint beyond, like those of the other times. */
  atimeSec: number | bigint;
  atimeNsec: number;
  mtimeSec: number | bigint;
  mtimeNsec: number;
  ctimeSec: number | bigint;
  ctimeNsec: number;
  /** As in /proc/self/mountinfo; undefined before Linux 5.8. */
  mountId: number | undefined;
  /** Whether it is the root of a mount; undefined before Linux 5.8. */
  isMountRoot: boolean | undefined;
}

/** struct statx and struct statx_timestamp, linux/stat.h 6.18: byte offsets. */
export const STATX = {
  SIZE: 256,
  mask: 0,
  blksize: 4,
  attributes: 8,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  attributesMask: 56,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdevMajor: 128,
  rdevMinor: 132,
  devMajor: 136,
  devMinor: 140,
  mntId: 144,
  /** Relative to a timestamp. */
  tvSec: 0,
  tvNsec: 8,
} as const;

const STATX_BASIC_STATS = 0x7ff;
const STATX_MNT_ID = 0x1000;
const STATX_ATTR_MOUNT_ROOT = 0x2000;

const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;

/** struct timespec[2] of a 64-bit machine: byte offsets. */
const TIMESPECS = { SIZE: 32, atimeSec: 0, atimeNsec: 8, mtimeSec: 16, mtimeNsec: 24 } as const;

const libc = loadLibc({
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" }, // int statx(int, const char *, int, unsigned, struct statx *)
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" }, // int mkdirat(int, const char *, mode_t)
  // long syscall(SYS_mknodat, int, const char *, mode_t, unsigned dev): glibc exports mknodat only since 2.33
  mknodat: { name: "syscall", parameters: ["i64", "i32", "buffer", "u32", "u32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" }, // int fchmod(int, mode_t)
  fchmodat: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" }, // int fchmodat(int, const char *, mode_t, int)
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" }, // int utimensat(int, const char *, const struct timespec[2], int)
  futimens: { parameters: ["i32", "buffer"], result: "i32" }, // int futimens(int, const struct timespec[2])
});

/** System call numbers. */
export const SYS_MKNODAT: Readonly<Record<Machine, bigint>> = { x86_64: 259n, aarch64: 33n };

const statxBytes = new Uint8Array(STATX.SIZE);
const statxView = new DataView(statxBytes.buffer);

/**
 * Attributes of a name. Does not trigger automounts.
 *
 * @param name "" with AT.EMPTY_PATH in `flags` means `dir` itself, which may then be any file
 * @param flags AT.SYMLINK_NOFOLLOW for a symbolic link itself
 * @throws {SyscallError} EOVERFLOW when a size exceeds 2^53-1
 */
export function statat(dir: DirFd, name: Name, flags = 0): Stat {
  const wanted = STATX_BASIC_STATS | STATX_MNT_ID;
  const at = rawDir(dir);
  const path = nameArgument(name, "stat");
  if (libc().statx(at, path, flags | AT.NO_AUTOMOUNT, wanted, statxBytes) !== 0) {
    throw failure("stat", name.length === 0 ? at : name);
  }
  return decodeStatx(statxView, name);
}

/**
 * Attributes of a path, of a symbolic link itself, as far as the kernel knows them: no server of a file system is asked,
 * so that one that does not answer delays nobody.
 *
 * @throws {SyscallError} as {@link statat}
 */
export function statKnown(path: Name): Stat {
  return statat(AT.FDCWD, path, AT.SYMLINK_NOFOLLOW | AT.STATX_DONT_SYNC);
}

/** Attributes of an open file. */
export function fstat(fd: AnyFd): Stat {
  const raw = rawFd(fd);
  if (libc().statx(raw, nameArgument("", "stat"), AT.EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, statxBytes) !== 0) {
    throw failure("stat", raw);
  }
  return decodeStatx(statxView, `fd ${raw}`);
}

/** Decodes a struct statx; `name` is for the error message. */
export function decodeStatx(view: DataView, name: Name): Stat {
  const mask = view.getUint32(STATX.mask, true);
  const hasMountRoot = (view.getUint32(STATX.attributesMask, true) & STATX_ATTR_MOUNT_ROOT) !== 0;
  return {
    dev: deviceAt(view, STATX.devMajor),
    ino: inodeAt(view, STATX.ino),
    mode: view.getUint16(STATX.mode, true),
    nlink: view.getUint32(STATX.nlink, true),
    uid: view.getUint32(STATX.uid, true),
    gid: view.getUint32(STATX.gid, true),
    rdev: deviceAt(view, STATX.rdevMajor),
    size: safeAt(view, STATX.size, name),
    blocks: safeAt(view, STATX.blocks, name),
    atimeSec: secondsAt(view, STATX.atime),
    atimeNsec: view.getUint32(STATX.atime + STATX.tvNsec, true),
    mtimeSec: secondsAt(view, STATX.mtime),
    mtimeNsec: view.getUint32(STATX.mtime + STATX.tvNsec, true),
    ctimeSec: secondsAt(view, STATX.ctime),
    ctimeNsec: view.getUint32(STATX.ctime + STATX.tvNsec, true),
    mountId: (mask & STATX_MNT_ID) === 0 ? undefined : unsignedAt(view, STATX.mntId),
    isMountRoot: hasMountRoot ? (view.getUint32(STATX.attributes, true) & STATX_ATTR_MOUNT_ROOT) !== 0 : undefined,
  };
}

function deviceAt(view: DataView, at: number): number {
  return makedev(view.getUint32(at, true), view.getUint32(at + 4, true));
}

function unsignedAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}

function inodeAt(view: DataView, at: number): number | bigint {
  const value = unsignedAt(view, at);
  return value <= Number.MAX_SAFE_INTEGER ? value : view.getBigUint64(at, true);
}

function safeAt(view: DataView, at: number, name: Name): number {
  const value = unsignedAt(view, at);
  if (value > Number.MAX_SAFE_INTEGER) throw new SyscallError("stat", ERRNO.EOVERFLOW, show(name));
  return value;
}

/** Signed: times before 1970 are negative. */
function secondsAt(view: DataView, at: number): number | bigint {
  const seconds = view.getUint32(at + STATX.tvSec, true) + view.getInt32(at + STATX.tvSec + 4, true) * 0x1_0000_0000;
  return Number.isSafeInteger(seconds) ? seconds : view.getBigInt64(at + STATX.tvSec, true);
}

/** Creates a directory; the umask reduces `mode`. */
export function mkdirat(dir: DirFd, name: Name, mode: number): void {
  check(libc().mkdirat(rawDir(dir), nameArgument(name, "mkdir"), mode), "mkdir", name);
}

/**
 * Creates a file of any type except directory and symbolic link.
 *
 * @param mode type and permission bits, reduced by the umask
 * @param rdev device number for IFCHR and IFBLK, otherwise 0. Character device 0 is an overlay whiteout.
 */
export function mknodat(dir: DirFd, name: Name, mode: number, rdev: number): void {
  check(libc().mknodat(SYS_MKNODAT[MACHINE], rawDir(dir), nameArgument(name, "mknod"), mode, rdev), "mknod", name);
}

/** Sets the permission bits of an open file; EBADF for an O_PATH descriptor. */
export function fchmod(fd: AnyFd, mode: number): void {
  check(libc().fchmod(rawFd(fd), mode & 0o7777), "chmod", rawFd(fd));
}

/**
 * Sets the permission bits of `name`, never of the target of a symbolic link.
 *
 * `name` should be a single component below an open directory: links in the middle of a path are followed.
 *
 * @throws {SyscallError} EOPNOTSUPP for a symbolic link, which has no permissions
 */
export function fchmodat(dir: DirFd, name: Name, mode: number): void {
  const path = nameArgument(name, "chmod");
  check(libc().fchmodat(rawDir(dir), path, mode & 0o7777, AT.SYMLINK_NOFOLLOW), "chmod", name);
}

/** Time to set: seconds since 1970 (negative before) and nanoseconds 0 to 999999999, unchanged, or now. */
export type FileTime = { readonly sec: number | bigint; readonly nsec: number } | "omit" | "now";

/** Times to set. */
export interface FileTimes {
  readonly atime: FileTime;
  readonly mtime: FileTime;
}

/** Encodes struct timespec[2]. */
export function encodeTimes(times: FileTimes): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(TIMESPECS.SIZE));
  putTime(view, TIMESPECS.atimeSec, times.atime);
  putTime(view, TIMESPECS.mtimeSec, times.mtime);
  return new Uint8Array(view.buffer);
}

function putTime(view: DataView, at: number, time: FileTime): void {
  const special = time === "now" ? UTIME_NOW : time === "omit" ? UTIME_OMIT : undefined;
  if (special !== undefined) {
    view.setUint32(at + 8, special, true);
  } else if (typeof time === "object") {
    if (!(time.nsec >= 0 && time.nsec < 1e9)) {
      throw new RangeError(`Cannot set time: ${time.nsec} ns is not below one second`);
    }
    view.setBigInt64(at, BigInt(time.sec), true);
    view.setUint32(at + 8, time.nsec, true);
  }
}

/** Sets times of a name; `flags` AT.SYMLINK_NOFOLLOW for a symbolic link itself. */
export function utimensat(dir: DirFd, name: Name, times: FileTimes, flags: number): void {
  const bytes = encodeTimes(times);
  check(libc().utimensat(rawDir(dir), nameArgument(name, "utimensat"), bytes, flags), "utimensat", name);
}

/** Sets times of an open file. */
export function futimens(fd: AnyFd, times: FileTimes): void {
  check(libc().futimens(rawFd(fd), encodeTimes(times)), "futimens", rawFd(fd));
}
