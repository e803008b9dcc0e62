/**
 * Foundations of the C bindings: loading symbols, turning failures into a {@link SyscallError}, and passing names.
 *
 * Every other file of this folder mirrors one header and calls {@link load} with its own symbol table. Libraries are
 * opened on first use, so a missing library does not break commands that do not need it.
 *
 * Names are bytes: Linux file names need not be UTF-8. Every function of this folder accepts a {@link Name}: strings
 * are encoded as UTF-8, bytes are used unchanged. A NUL inside a name is rejected with EINVAL before the kernel sees
 * it.
 *
 * errno is per thread and valid only directly after a synchronous call. `nonblocking` symbols run on another thread and
 * must not be used where errno matters.
 *
 * Two rules keep calls fast. 64-bit parameters are passed as `BigInt(n)`: a plain number leaves the engine's fast path
 * (and BigInt rejects fractions). A `ssize_t` that the kernel bounds by MAX_RW_COUNT (0x7ffff000) is declared "i32",
 * which avoids the bigint of an "i64" result.
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";

/** A path or file name: text, or raw bytes. */
export type Name = string | Uint8Array;

/** PATH_MAX of linux/limits.h: maximum bytes of a path, including its NUL. */
export const PATH_MAX = 4096;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The name as newly allocated bytes with a terminating NUL. */
export function cstring(name: Name, syscall = "use name"): Uint8Array<ArrayBuffer> {
  const bytes = typeof name === "string" ? encoder.encode(name) : name;
  if (bytes.includes(0)) throw new SyscallError(syscall, ERRNO.EINVAL, show(name));
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** A UTF-16 unit encodes to at most three bytes; longer names go through {@link cstring}. */
const SCRATCH_BYTES = 3 * PATH_MAX + 1;
const scratchNames = [new Uint8Array(SCRATCH_BYTES), new Uint8Array(SCRATCH_BYTES)] as const;

/**
 * The name as a NUL-terminated argument of a synchronous call that copies it. Does not allocate.
 *
 * The bytes are valid until the next call with the same `slot` on this thread. Calls with two names use both slots.
 */
export function nameArgument(name: Name, syscall: string, slot: 0 | 1 = 0): Uint8Array<ArrayBuffer> {
  if (name.length > PATH_MAX) return cstring(name, syscall);
  const scratch = scratchNames[slot];
  if (typeof name === "string") {
    if (name.includes("\0")) throw new SyscallError(syscall, ERRNO.EINVAL, show(name));
    scratch[encoder.encodeInto(name, scratch).written] = 0;
  } else {
    if (name.includes(0)) throw new SyscallError(syscall, ERRNO.EINVAL, show(name));
    scratch.set(name);
    scratch[name.length] = 0;
  }
  return scratch;
}

/**
 * Formats a name for messages: invalid UTF-8 becomes U+FFFD and control characters become `\x1b`, so that a hostile
 * name cannot control the terminal.
 */
export function show(name: Name): string {
  const text = typeof name === "string" ? name : decoder.decode(name);
  return text.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** Names the missing library, or the missing symbol of it, and the Debian package that provides it. */
export class MissingLibraryError extends Error {
  override readonly name = "MissingLibraryError";
  constructor(readonly soname: string, readonly debianPackage: string, cause: unknown) {
    const symbol = /register symbol ([^:]+)/.exec(cause instanceof Error ? cause.message : "")?.[1];
    super(`Cannot load ${soname}: ${symbol === undefined ? "library not found" : `it has no ${symbol}`}`, { cause });
  }
  /** Command that installs the library. */
  get hint(): string {
    return `apt-get install ${this.debianPackage}`;
  }
}

/**
 * Returns a function that opens `soname` on its first call and returns its symbols.
 *
 * @throws {MissingLibraryError} when the library cannot be opened or lacks a symbol
 */
export function load<S extends Deno.ForeignLibraryInterface>(
  soname: string,
  debianPackage: string,
  symbols: S,
): () => Deno.DynamicLibrary<S>["symbols"] {
  let library: Deno.DynamicLibrary<S> | undefined;
  return () => {
    if (library === undefined) {
      errno(); // loads errno's own symbol now, since a dlopen between a failed call and reading errno would change it
      library = open(soname, debianPackage, symbols);
    }
    return library.symbols;
  };
}

function open<S extends Deno.ForeignLibraryInterface>(
  soname: string,
  debianPackage: string,
  symbols: S,
): Deno.DynamicLibrary<S> {
  try {
    return Deno.dlopen(soname, symbols);
  } catch (error) {
    throw new MissingLibraryError(soname, debianPackage, error);
  }
}

const LIBC = ["libc.so.6", "libc6"] as const;

/** {@link load} for glibc. */
export function loadLibc<S extends Deno.ForeignLibraryInterface>(symbols: S): () => Deno.DynamicLibrary<S>["symbols"] {
  return load(...LIBC, symbols);
}

let errnoCell: Int32Array | undefined;

/** errno of the synchronous call that just returned on this thread. */
export function errno(): number {
  if (errnoCell === undefined) {
    const location = open(...LIBC, {
      __errno_location: { parameters: [], result: "pointer" }, // int *__errno_location(void)
    }).symbols.__errno_location();
    if (location === null) throw new Error("Cannot read errno: no location");
    errnoCell = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
  }
  return errnoCell[0] as number;
}

/** Errors of the disk, whose messages should name the file. */
const OF_DISK: ReadonlySet<number> = new Set([ERRNO.EIO, ERRNO.EFBIG, ERRNO.ENOSPC, ERRNO.EROFS, ERRNO.EDQUOT]);

/**
 * Returns the error in errno, for a call whose result indicates failure. Disk errors name a descriptor by the path of
 * its file.
 *
 * @param subject a path, a short description, or a descriptor number
 */
export function failure(syscall: string, subject: Name | number): SyscallError {
  const number = errno();
  const named = typeof subject !== "number" ? subject : OF_DISK.has(number) ? fileOf(subject) : `fd ${subject}`;
  return new SyscallError(syscall, number, show(named));
}

/** Path of the file on which a descriptor is open, or its number if the path is unknown. */
function fileOf(fd: number): string {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${fd}`).replace(/ \(deleted\)$/, "");
  } catch {
    return `fd ${fd}`; // /proc is missing or unreadable
  }
}

/**
 * Returns the result of a call that reports failure as -1 and errno.
 *
 * @param subject a path, a short description, or a descriptor number
 * @throws {SyscallError} when `result` is -1
 */
export function check(result: number | bigint, syscall: string, subject: Name | number): number {
  const number = Number(result);
  if (number !== -1) return number;
  throw failure(syscall, subject);
}
