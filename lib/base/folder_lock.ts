/**
 * Locks on folders whose last user removes them, as temporary ones: file_lock.ts.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { AT, O, open } from "../../ffi/fcntl.ts";
import { LOCK } from "../../ffi/sys_file.ts";
import { fstat, statat } from "../../ffi/sys_stat.ts";
import { ignore } from "./errors.ts";
import { FileLock } from "./file_lock.ts";

/** Waits for a lock of a folder. @throws {SyscallError} */
export function lockFolder(path: string, operation: number): FileLock {
  return FileLock.on(open(path, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), operation);
}

/** Locks a folder exclusively; undefined if another process has locked it. @throws {SyscallError} */
export function tryLockFolder(path: string): FileLock | undefined {
  try {
    return lockFolder(path, LOCK.EX | LOCK.NB);
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return undefined;
    throw error;
  }
}

/** Removes a folder with its content, unless another process has locked it or has just removed it. */
export async function removeUnlocked(path: string): Promise<void> {
  try {
    using lock = tryLockFolder(path);
    if (lock !== undefined) await ignore(Deno.errors.NotFound, Deno.remove(path, { recursive: true }));
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error; // no longer a folder
  }
}

/** Whether a locked folder is still the one at the path: its last user may have removed it. @throws {SyscallError} */
export function isStillAt(path: string, { file }: FileLock): boolean {
  try {
    return statat(AT.FDCWD, path).ino === fstat(file).ino;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}
