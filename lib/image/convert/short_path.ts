/**
 * A way to a file by a path of any length: no system call takes more than {@link PATH_MAX} bytes, and a path that is
 * short enough in its tree may be longer from the root of this machine.
 *
 * @module
 */
import { AT, O, openat } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { PATH_MAX } from "../../../ffi/libc.ts";
import { pathBelow } from "../../layer/apply_tree.ts";

/** Bytes of a path with room for "/proc/self/fd/N/" before it. */
const LONGEST = PATH_MAX - 32;

const SLASH = 0x2f;

/** Disposing takes the way away. */
export class ShortPath implements Disposable {
  private constructor(
    /** The very path where it is short. Symbolic links on the way are not followed where it is not. */
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
