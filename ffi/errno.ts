/**
 * errno numbers, and the error thrown for a failed system call.
 *
 * Source: asm-generic/errno-base.h and asm-generic/errno.h, Linux 6.18 (the same on x86-64 and arm64).
 *
 * @module
 */

/** errno values by name, as returned by file systems, mounts and sockets. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  ENOTBLK: 15,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  EDOM: 33,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  ETIME: 62,
  EREMOTE: 66,
  ENOLINK: 67,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EUSERS: 87,
  ENOTSOCK: 88,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EUCLEAN: 117,
  EDQUOT: 122,
  ENOMEDIUM: 123,
  ECANCELED: 125,
  ENOKEY: 126,
  EOWNERDEAD: 130,
} as const;

/** Name of an errno value in {@link ERRNO}. */
export type ErrnoName = keyof typeof ERRNO;

const NAMES = new Map<number, ErrnoName>(
  (Object.keys(ERRNO) as ErrnoName[]).map((name) => [ERRNO[name], name]),
);

/** Returns "EIO" for 5, "errno 200" for a number that is not in {@link ERRNO}. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** What a name means that is also that of a file system, which we mount. */
const READ_ONLY = "read-only file system";

/** A failed system call: `Cannot mount "/x": EBUSY`. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  /** Name of the errno, such as "EBUSY", for comparisons. */
  readonly code: string;

  /**
   * @param syscall name of the call
   * @param errno positive errno value
   * @param subject path or short description of what the call was made on
   * @param detail further explanation by the kernel
   */
  constructor(readonly syscall: string, readonly errno: number, readonly subject: string, readonly detail?: string) {
    const known = detail ?? (errno === ERRNO.EROFS ? READ_ONLY : undefined);
    super(`Cannot ${syscall} "${subject}": ${errnoName(errno)}${known === undefined ? "" : ` (${known})`}`);
    this.code = errnoName(errno);
  }
}

/** Whether `error` is a failed system call with one of the given errno names. */
export function isErrno(error: unknown, ...names: ErrnoName[]): error is SyscallError {
  return error instanceof SyscallError && (names as string[]).includes(error.code);
}
