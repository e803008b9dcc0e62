/**
 * Advisory locks on whole files.
 *
 * A lock belongs to the open file: duplicates of the descriptor share it, and it is released when the last one is
 * closed, however the process ends.
 *
 * Source: asm-generic/fcntl.h, Linux 6.18.
 *
 * @module
 */
import { ERRNO, isErrno } from "./errno.ts";
import { type AnyFd, rawFd } from "./fd.ts";
import { check, errno, loadLibc } from "./libc.ts";

/** Operations of {@link flock}. Without NB the calling thread blocks until the lock is free. */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;

const libc = loadLibc({
  flock: { parameters: ["i32", "i32"], result: "i32" }, // int flock(int fd, int operation)
});

/**
 * Locks or unlocks.
 *
 * @param operation {@link LOCK} bits
 * @throws {SyscallError} EAGAIN with NB when another open file holds the lock
 */
export function flock(fd: AnyFd, operation: number): void {
  const raw = rawFd(fd);
  let result: number;
  do result = libc().flock(raw, operation); while (result === -1 && errno() === ERRNO.EINTR);
  check(result, "flock", raw);
}

/**
 * Locks without waiting.
 *
 * @param operation SH or EX of {@link LOCK}
 * @returns whether it is locked; otherwise another open file holds the lock
 * @throws {SyscallError}
 */
export function tryFlock(fd: AnyFd, operation: number): boolean {
  try {
    flock(fd, operation | LOCK.NB);
    return true;
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return false;
    throw error;
  }
}
