/**
 * Extended attributes.
 *
 * Three kinds of call: `lgetxattr` of a path, without following a symbolic link; `getxattr`, which follows it;
 * `fsetxattr` of an open file. The last kind fails with EBADF for an O_PATH descriptor: use `setxattr(procFdPath(fd),
 * …)`, which reaches exactly the open inode, even a symbolic link. Attribute names include their namespace
 * ("trusted.overlay.opaque") and have at most 255 bytes, values at most 64 KiB. A missing attribute is ENODATA, a file
 * system without attributes EOPNOTSUPP.
 *
 * Source: sys/xattr.h of glibc, linux/limits.h 6.18.
 *
 * @module
 */
import { ERRNO } from "./errno.ts";
import { type AnyFd, rawFd } from "./fd.ts";
import { check, errno, failure, loadLibc, type Name, nameArgument } from "./libc.ts";

/** XATTR_SIZE_MAX and XATTR_LIST_MAX: the kernel never returns more. */
const SIZE_MAX = 65536;
/** The kernel allocates and clears the requested size, so the first try is small; most values are shorter. */
const FIRST_TRY = 512;

const GET = { parameters: ["buffer", "buffer", "buffer", "usize"], result: "i32" } as const; // ssize_t getxattr(path, name, void *, size_t)
const SET = { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" } as const; // int setxattr(path, name, const void *, size_t, int)
const LIST = { parameters: ["buffer", "buffer", "usize"], result: "i32" } as const; // ssize_t listxattr(path, char *, size_t)

const libc = loadLibc({
  getxattr: GET,
  lgetxattr: GET,
  setxattr: SET,
  lsetxattr: SET,
  fsetxattr: { parameters: ["i32", "buffer", "buffer", "usize", "i32"], result: "i32" }, // int fsetxattr(int, name, const void *, size_t, int)
  listxattr: LIST,
  llistxattr: LIST,
  fremovexattr: { parameters: ["i32", "buffer"], result: "i32" }, // int fremovexattr(int, name)
});

const scratch = new Uint8Array(SIZE_MAX);
const NOTHING = new Uint8Array(0);

/** Calls with a small size, then with the maximum. */
function grow(call: (size: bigint) => number, syscall: string, subject: Name): Uint8Array<ArrayBuffer> {
  let length = call(BigInt(FIRST_TRY));
  if (length < 0 && errno() === ERRNO.ERANGE) length = call(BigInt(SIZE_MAX));
  if (length < 0) throw failure(syscall, subject);
  return length === 0 ? NOTHING : scratch.slice(0, length);
}

/** Splits a list of NUL-terminated names. */
export function splitNames(list: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const names: Uint8Array<ArrayBuffer>[] = [];
  for (let start = 0; start < list.length;) {
    const end = list.indexOf(0, start);
    const stop = end < 0 ? list.length : end;
    names.push(list.slice(start, stop));
    start = stop + 1;
  }
  return names;
}

/** Value of an attribute; follows a symbolic link. */
export function getxattr(path: Name, name: Name): Uint8Array<ArrayBuffer> {
  const file = nameArgument(path, "getxattr");
  const key = nameArgument(name, "getxattr", 1);
  return grow((size) => libc().getxattr(file, key, scratch, size), "getxattr", path);
}

/** Value of an attribute; does not follow a symbolic link. */
export function lgetxattr(path: Name, name: Name): Uint8Array<ArrayBuffer> {
  const file = nameArgument(path, "getxattr");
  const key = nameArgument(name, "getxattr", 1);
  return grow((size) => libc().lgetxattr(file, key, scratch, size), "getxattr", path);
}

/** Sets an attribute; follows a symbolic link. */
export function setxattr(path: Name, name: Name, value: Uint8Array): void {
  const file = nameArgument(path, "setxattr");
  const key = nameArgument(name, "setxattr", 1);
  check(libc().setxattr(file, key, value, BigInt(value.length), 0), "setxattr", path);
}

/** Sets an attribute; does not follow a symbolic link. */
export function lsetxattr(path: Name, name: Name, value: Uint8Array): void {
  const file = nameArgument(path, "setxattr");
  const key = nameArgument(name, "setxattr", 1);
  check(libc().lsetxattr(file, key, value, BigInt(value.length), 0), "setxattr", path);
}

/** Sets an attribute of an open file. */
export function fsetxattr(fd: AnyFd, name: Name, value: Uint8Array): void {
  const key = nameArgument(name, "setxattr", 1);
  check(libc().fsetxattr(rawFd(fd), key, value, BigInt(value.length), 0), "setxattr", rawFd(fd));
}

/** Names of all attributes; follows a symbolic link. */
export function listxattr(path: Name): Uint8Array<ArrayBuffer>[] {
  const file = nameArgument(path, "listxattr");
  return splitNames(grow((size) => libc().listxattr(file, scratch, size), "listxattr", path));
}

/** Names of all attributes; does not follow a symbolic link. Includes trusted.* only with CAP_SYS_ADMIN. */
export function llistxattr(path: Name): Uint8Array<ArrayBuffer>[] {
  const file = nameArgument(path, "listxattr");
  return splitNames(grow((size) => libc().llistxattr(file, scratch, size), "listxattr", path));
}

/** Removes an attribute of an open file. */
export function fremovexattr(fd: AnyFd, name: Name): void {
  check(libc().fremovexattr(rawFd(fd), nameArgument(name, "removexattr", 1)), "removexattr", rawFd(fd));
}
