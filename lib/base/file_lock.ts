/**
 * Advisory locks on open files: flock(2). They end with the process that has them, however it ends. Who else has the
 * lock is not told: server_lock.ts makes an error of it for users, folder_lock.ts locks folders.
 *
 * @module
 */
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { flock, LOCK } from "../../ffi/sys_file.ts";

/** A held lock. Disposing releases it. */
export class FileLock implements Disposable {
  private constructor(readonly file: Fd) {}

  /**
   * Locks an open file or folder, which the lock owns from now on.
   *
   * @param operation {@link LOCK} bits; without NB the calling thread waits
   * @throws {SyscallError} EAGAIN with NB while another process, or another lock of this one, holds it
   */
  static on(file: Fd, operation: number): FileLock {
    try {
      flock(file, operation);
      return new FileLock(file);
    } catch (error) {
      file[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Locks a file exclusively, and creates it if it does not exist (mode 0600).
   *
   * @throws {SyscallError} EAGAIN while another process, or another lock of this one, holds it
   */
  static take(path: string): FileLock {
    return FileLock.on(open(path, O.RDWR | O.CREAT | O.NOFOLLOW, 0o600), LOCK.EX | LOCK.NB);
  }

  [Symbol.dispose](): void {
    if (this.file.closed) return;
    // closing is not enough: a program that is about to start has a copy of the descriptor until its exec
    flock(this.file, LOCK.UN);
    this.file[Symbol.dispose]();
  }
}
