/**
 * Opening files: open(2), openat(2), openat2(2); also fallocate(2), posix_fadvise(2) and sync_file_range(2).
 *
 * Every open adds O_CLOEXEC; to pass a descriptor to a child process, use `Fd.setCloseOnExec`. Flags differ between
 * processor architectures: {@link O} holds the numbers of the current machine.
 *
 * Source: asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h, linux/openat2.h, linux/falloc.h, Linux 6.18.
 *
 * ```ts
 * using root = open("/srv/layer", O.PATH | O.DIRECTORY);
 * using file = openat2(root, name, { flags: O.RDONLY, resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS });
 * ```
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";
import { type AnyFd, Fd, rawFd } from "./fd.ts";
import { check, errno, failure, loadLibc, type Name, nameArgument } from "./libc.ts";
import { MACHINE, type Machine } from "./machine.ts";

/** Flags of open(2) that have other numbers on another machine. */
export const MACHINE_FLAGS: Readonly<Record<Machine, MachineFlags>> = {
  x86_64: { DIRECT: 0o40000, LARGEFILE: 0o100000, DIRECTORY: 0o200000, NOFOLLOW: 0o400000 },
  aarch64: { DIRECT: 0o200000, LARGEFILE: 0o400000, DIRECTORY: 0o40000, NOFOLLOW: 0o100000 },
};

interface MachineFlags {
  readonly DIRECT: number;
  /** Set by the kernel on every 64-bit open; fanotify_init(2) requires it explicitly. */
  readonly LARGEFILE: number;
  readonly DIRECTORY: number;
  readonly NOFOLLOW: number;
}

/** Flags of open(2) on this machine. */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  ACCMODE: 3,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DSYNC: 0o10000,
  SYNC: 0o4010000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  ...MACHINE_FLAGS[MACHINE],
  TMPFILE: 0o20000000 | MACHINE_FLAGS[MACHINE].DIRECTORY,
} as const;

/** Special directory and flags of the *at calls. */
export const AT = {
  /** Instead of a directory: names are relative to the working directory. */
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  NO_AUTOMOUNT: 0x800,
  /** With the name "": refers to the descriptor itself. */
  EMPTY_PATH: 0x1000,
  /** For statx(2): what is known, without asking the server of a file system. */
  STATX_DONT_SYNC: 0x4000,
  RECURSIVE: 0x8000,
} as const;

/** Restrictions on path resolution by {@link openat2}. */
export const RESOLVE = {
  NO_XDEV: 0x01,
  NO_MAGICLINKS: 0x02,
  NO_SYMLINKS: 0x04,
  BENEATH: 0x08,
  /** The directory acts as "/": absolute links and ".." stay below it. */
  IN_ROOT: 0x10,
  CACHED: 0x20,
} as const;

/** Modes of fallocate(2). PUNCH_HOLE requires KEEP_SIZE. */
export const FALLOC = {
  KEEP_SIZE: 0x01,
  PUNCH_HOLE: 0x02,
  COLLAPSE_RANGE: 0x08,
  ZERO_RANGE: 0x10,
  INSERT_RANGE: 0x20,
} as const;

/** Base of a relative name: an open directory, or the working directory. */
export type DirFd = Fd | typeof AT.FDCWD;

/** Number of a directory for an *at call. */
export function rawDir(dir: DirFd): number {
  return typeof dir === "number" ? dir : dir.raw;
}

/** struct open_how, linux/openat2.h 6.18: byte offsets. */
const OPEN_HOW = { SIZE: 24, flags: 0, mode: 8, resolve: 16 } as const;

const SYS_OPENAT2 = 437n;

const libc = loadLibc({
  // int openat(int dirfd, const char *path, int flags, mode_t mode)
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  // long syscall(SYS_openat2, int dirfd, const char *path, struct open_how *how, size_t size)
  openat2: { name: "syscall", parameters: ["i64", "i32", "buffer", "buffer", "usize"], result: "i32" },
  // int fcntl(int fd, int cmd, ...)
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  // int fallocate(int fd, int mode, off_t offset, off_t len)
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  // as fallocate
  fallocateElsewhere: {
    name: "fallocate",
    parameters: ["i32", "i32", "i64", "i64"],
    result: "i32",
    nonblocking: true,
  },
  // int posix_fadvise(int fd, off_t offset, off_t len, int advice): the error is the result
  posix_fadvise: { parameters: ["i32", "i64", "i64", "i32"], result: "i32" },
  // int sync_file_range(int fd, off64_t offset, off64_t nbytes, unsigned flags)
  sync_file_range: { parameters: ["i32", "i64", "i64", "u32"], result: "i32" },
});

/**
 * Opens a path relative to the working directory.
 *
 * @param mode permission bits of a created file, reduced by the umask
 */
export function open(name: Name, flags: number, mode = 0o600): Fd {
  return openat(AT.FDCWD, name, flags, mode);
}

/**
 * Opens a name below a directory. Follows symbolic links anywhere; for untrusted names, use {@link openat2}.
 *
 * @param mode permission bits of a created file, reduced by the umask
 */
export function openat(dir: DirFd, name: Name, flags: number, mode = 0o600): Fd {
  const at = rawDir(dir);
  for (;;) {
    const raw = libc().openat(at, nameArgument(name, "open"), flags | O.CLOEXEC, mode);
    if (raw >= 0) return Fd.own(raw);
    const error = failure("open", name);
    if (error.errno !== ERRNO.EINTR) throw error;
  }
}

/** Flags and restrictions of {@link openat2}. */
export interface OpenHow {
  /** {@link O} bits; unknown bits are EINVAL. */
  readonly flags: number;
  /** Permission bits, only with O.CREAT or O.TMPFILE. */
  readonly mode?: number;
  /** {@link RESOLVE} bits. */
  readonly resolve: number;
}

/** Encodes struct open_how. */
export function encodeOpenHow(how: OpenHow): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(OPEN_HOW.SIZE));
  view.setBigUint64(OPEN_HOW.flags, BigInt(how.flags | O.CLOEXEC), true);
  view.setBigUint64(OPEN_HOW.mode, BigInt(how.mode ?? 0), true);
  view.setBigUint64(OPEN_HOW.resolve, BigInt(how.resolve), true);
  return new Uint8Array(view.buffer);
}

/**
 * openat2(2) fails with EAGAIN when a rename or mount races with a scoped lookup; on a quiet tree it succeeds at once.
 */
const OPENAT2_ATTEMPTS = 64;

/**
 * Opens a name below a directory with restrictions on path resolution. Linux >= 5.6.
 *
 * @throws {SyscallError} ENOSYS on older kernels, EXDEV or ELOOP when a restriction was violated, EAGAIN when the tree
 * is being renamed continuously
 */
export function openat2(dir: DirFd, name: Name, how: OpenHow): Fd {
  const at = rawDir(dir);
  const bytes = encodeOpenHow(how);
  for (let attempt = 1;; attempt++) {
    const raw = libc().openat2(SYS_OPENAT2, at, nameArgument(name, "open"), bytes, BigInt(OPEN_HOW.SIZE));
    if (raw >= 0) return Fd.own(raw);
    const error = failure("open", name);
    const retry = error.errno === ERRNO.EINTR || error.errno === ERRNO.EAGAIN;
    if (!retry || attempt === OPENAT2_ATTEMPTS) throw error;
  }
}

/** Allocates, punches or zeroes `length` bytes at `offset`; `mode` is {@link FALLOC} bits or 0. */
export function fallocate(fd: AnyFd, mode: number, offset: number, length: number): void {
  const raw = rawFd(fd);
  let result: number;
  do result = libc().fallocate(raw, mode, BigInt(offset), BigInt(length)); while (
    result === -1 && errno() === ERRNO.EINTR
  );
  check(result, "fallocate", raw);
}

/**
 * Makes `length` bytes at `offset` a hole and drops what the page cache has of it. Runs on another thread, since it
 * waits until what is being written there has been.
 *
 * @param fd must stay open meanwhile
 * @throws {SyscallError} EOPNOTSUPP where the file system has no holes
 */
export async function punchHole(fd: AnyFd, offset: number, length: number): Promise<void> {
  const mode = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
  const result = await libc().fallocateElsewhere(rawFd(fd), mode, BigInt(offset), BigInt(length));
  if (result !== 0) fallocate(fd, mode, offset, length); // the error of another thread cannot be told
}

/** Commands and arguments of fcntl(2), asm-generic/fcntl.h and linux/fcntl.h 6.18. */
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;
const SIGURG = 23;

/**
 * Whether the file is open anywhere else, be it in the kernel itself: a write lease is granted only to the sole opener.
 *
 * @param fd the only descriptor of this file that the caller knows of
 * @throws {SyscallError} EINVAL where the file system has no leases, EACCES for the file of another user
 */
export function isOpenElsewhere(fd: Fd): boolean {
  const set = (command: number, argument: number) => libc().fcntl(fd.raw, command, BigInt(argument));
  // who opens the file at this moment would end this process by SIGIO; SIGURG is ignored
  check(set(F_SETSIG, SIGURG), "set signal of", fd.raw);
  const error = set(F_SETLEASE, F_WRLCK) === -1 ? errno() : undefined;
  if (error === ERRNO.EAGAIN) return true;
  if (error !== undefined) throw new SyscallError("lease", error, `fd ${fd.raw}`);
  check(set(F_SETLEASE, F_UNLCK), "end lease of", fd.raw);
  return false;
}

const POSIX_FADV_WILLNEED = 3;
const POSIX_FADV_DONTNEED = 4;

/** Drops the clean pages of a file from the page cache, so that the next read goes to the file system. */
export function dropPages(fd: AnyFd): void {
  const raw = rawFd(fd);
  const code = libc().posix_fadvise(raw, 0n, 0n, POSIX_FADV_DONTNEED);
  if (code !== 0) throw new SyscallError("posix_fadvise", code, `fd ${raw}`);
}

/**
 * Starts read-ahead of `length` bytes at `offset` into the page cache. Only a hint: errors are ignored, and readers get
 * them later.
 */
export function startReading(fd: AnyFd, offset: number, length: number): void {
  libc().posix_fadvise(rawFd(fd), BigInt(offset), BigInt(length), POSIX_FADV_WILLNEED);
}

const SYNC_FILE_RANGE_WAIT_BEFORE = 1;
const SYNC_FILE_RANGE_WRITE = 2;
/** Beyond the end of any file: nothing there has to be waited for. */
const BEYOND_FILES = 2n ** 62n;

/**
 * Whether the kernel has failed to write data of the file to the disk. Each failure is told once for each open file
 * description. Neither writes nor waits.
 *
 * @param fd a regular file
 */
export function takeWriteError(fd: AnyFd): boolean {
  if (libc().sync_file_range(rawFd(fd), BEYOND_FILES, 1n, SYNC_FILE_RANGE_WAIT_BEFORE) === 0) return false;
  const code = errno();
  return code !== ERRNO.EINVAL && code !== ERRNO.ENOSYS;
}

/**
 * Starts writeback of `length` bytes at `offset` without waiting. Guarantees no durability; a later fsync(2) or
 * syncfs(2) has less to write.
 */
export function startWriteback(fd: AnyFd, offset: number, length: number): void {
  const raw = rawFd(fd);
  const result = libc().sync_file_range(raw, BigInt(offset), BigInt(length), SYNC_FILE_RANGE_WRITE);
  check(result, "sync_file_range", raw);
}
