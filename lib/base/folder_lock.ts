/**
 * Locks on folders: they go with the process that has them, however it ends.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { AT, O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { flock } from "../../ffi/sys_file.ts";
import { fstat, statat } from "../../ffi/sys_stat.ts";

/** Waits for a lock of a folder, and holds it until it is disposed of. @throws {SyscallError} */
export function lockFolder(path: string, operation: number): Fd {
  const folder = open(path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
  try {
    flock(folder, operation);
    return folder;
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
}

/** Whether a folder that is open is still the one at the path: its last user may have removed it. @throws {SyscallError} */
export function isStillAt(path: string, folder: Fd): boolean {
  try {
    return statat(AT.FDCWD, path).ino === fstat(folder).ino;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
