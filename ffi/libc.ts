/**
 * The C library itself: how a symbol is loaded, how a failure becomes a {@link SyscallError}, how names travel.
 *
 * Each other file of this folder mirrors one header and calls {@link load} with its own symbol table. Nothing is opened
 * before the first call, so a missing library never breaks a command that does not need it.
 *
 * Names are bytes: Linux file names need not be UTF-8. Every function of this folder takes a {@link Name}; a string is
 * encoded as UTF-8, bytes are used as they are. A NUL inside a name is an EINVAL before the kernel sees it.
 *
 * errno is per thread and only valid right after a synchronous call: `nonblocking` symbols run on another thread and
 * must not be used where errno matters.
 *
 * @module
 */
import { ERRNO, SyscallError } from "./errno.ts";

/** A path or a file name: text, or the very bytes. */
export type Name = string | Uint8Array;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The name as bytes with a terminating NUL. */
export function cstring(name: Name, syscall = "use name"): Uint8Array<ArrayBuffer> {
  const bytes = typeof name === "string" ? encoder.encode(name) : name;
  if (bytes.includes(0)) throw new SyscallError(syscall, ERRNO.EINVAL, show(name));
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** The name for a message: bytes that are no UTF-8 become U+FFFD. */
export function show(name: Name): string {
  return typeof name === "string" ? name : decoder.decode(name);
}

/** Says which library is missing and which Debian package has it. */
export class MissingLibraryError extends Error {
  override readonly name = "MissingLibraryError";
  constructor(readonly soname: string, readonly debianPackage: string, cause: unknown) {
    super(`Cannot load ${soname}: library not found`, { cause });
  }
  /** The command that mends it. */
  get hint(): string {
    return `apt-get install ${this.debianPackage}`;
  }
}

/**
 * A function that opens `soname` on its first call and returns the symbols from then on.
 *
 * @throws {MissingLibraryError} when the library cannot be opened
 */
export function load<S extends Deno.ForeignLibraryInterface>(
  soname: string,
  debianPackage: string,
  symbols: S,
): () => Deno.DynamicLibrary<S>["symbols"] {
  let library: Deno.DynamicLibrary<S> | undefined;
  return () => {
    if (library === undefined) {
      try {
        library = Deno.dlopen(soname, symbols);
      } catch (error) {
        throw new MissingLibraryError(soname, debianPackage, error);
      }
    }
    return library.symbols;
  };
}

/** {@link load} for glibc. */
export function loadLibc<S extends Deno.ForeignLibraryInterface>(symbols: S): () => Deno.DynamicLibrary<S>["symbols"] {
  return load("libc.so.6", "libc6", symbols);
}

const libc = loadLibc({
  __errno_location: { parameters: [], result: "pointer" }, // int *__errno_location(void)
});

let errnoCell: Int32Array | undefined;

/** errno of the synchronous call that has just returned on this thread. */
export function errno(): number {
  if (errnoCell === undefined) {
    const location = libc().__errno_location();
    if (location === null) throw new Error("Cannot read errno: no location");
    errnoCell = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(location, 4));
  }
  return errnoCell[0] as number;
}

/**
 * The result of a call that answers -1 and errno on failure.
 *
 * @throws {SyscallError} when `result` is -1
 */
export function check(result: number | bigint, syscall: string, subject: Name): number {
  if (Number(result) !== -1) return Number(result);
  throw new SyscallError(syscall, errno(), show(subject));
}
