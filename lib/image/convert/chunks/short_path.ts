/**
 * Opens files by paths of any length: system calls accept at most {@link PATH_MAX} bytes, and a path that is short
 * enough within its tree may be longer from the root of this machine.
 *
 * @module
 */
import { AT, O, openat } from "../../../../ffi/fcntl.ts";
import { type Fd, pathBelow } from "../../../../ffi/fd.ts";
import { PATH_MAX } from "../../../../ffi/libc.ts";
import { SLASH } from "../../../base/path_bytes.ts";

/** Maximum path length that leaves room for "/proc/self/fd/N/" in front. */
const LONGEST = PATH_MAX - 32;

/** A short path to a file. Disposing closes the descriptor behind it. */
export class ShortPath implements Disposable {
  private constructor(
    /** The path itself if it is short enough. Otherwise symbolic links within it are not followed. */
    readonly path: Uint8Array<ArrayBuffer>,
    private readonly folder: Fd | undefined,
  ) {}

  /** @throws {SyscallError} */
  static to(path: Uint8Array<ArrayBuffer>): ShortPath {
    if (path.length < PATH_MAX) return new ShortPath(path, undefined);
    let folder: Fd | undefined;
    let rest = path;
    while (rest.length > LONGEST) {
      const end = rest.lastIndexOf(SLASH, LONGEST);
      using above = folder;
      folder = openat(above ?? AT.FDCWD, rest.subarray(0, end), O.PATH | O.DIRECTORY | O.NOFOLLOW);
      rest = rest.subarray(end + 1);
    }
    return new ShortPath(folder === undefined ? rest : pathBelow(folder, rest), folder);
  }

  [Symbol.dispose](): void {
    this.folder?.[Symbol.dispose]();
  }
}
