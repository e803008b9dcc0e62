/**
 * Owned file descriptors.
 *
 * A number from the kernel becomes an {@link Fd} at once, so that `using` closes it on every way out. Functions of this
 * folder take {@link AnyFd}: a Worker knows descriptors of other threads by number only.
 *
 * @module
 */
import { check, loadLibc } from "./libc.ts";

const libc = loadLibc({
  close: { parameters: ["i32"], result: "i32" }, // int close(int fd)
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" }, // int fcntl(int fd, int cmd, ...)
});

/** fcntl(2) commands, linux/fcntl.h and asm-generic/fcntl.h 6.18. */
const F_SETFD = 2;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;

/** A descriptor that this object owns and closes. */
export class Fd implements Disposable {
  #raw: number;

  private constructor(raw: number) {
    this.#raw = raw;
  }

  /** Takes over a descriptor that a system call has just returned. */
  static own(raw: number): Fd {
    if (!Number.isInteger(raw) || raw < 0) throw new RangeError(`Cannot own descriptor: number is ${raw}`);
    return new Fd(raw);
  }

  /** The descriptor number, for system calls. Throws once it is closed. */
  get raw(): number {
    if (this.#raw < 0) throw new Error("Cannot use descriptor: already closed");
    return this.#raw;
  }

  get closed(): boolean {
    return this.#raw < 0;
  }

  /** A second descriptor of the same open file, close-on-exec. */
  duplicate(): Fd {
    return new Fd(check(libc().fcntl(this.raw, F_DUPFD_CLOEXEC, 0n), "duplicate descriptor", this.raw));
  }

  /** Whether the descriptor is closed in a program that this process starts. */
  setCloseOnExec(on: boolean): void {
    check(libc().fcntl(this.raw, F_SETFD, on ? BigInt(FD_CLOEXEC) : 0n), "set close-on-exec of", this.raw);
  }

  /** Gives the descriptor up without closing it; the caller owns the number. */
  release(): number {
    const raw = this.raw;
    this.#raw = -1;
    return raw;
  }

  [Symbol.dispose](): void {
    if (this.#raw < 0) return;
    libc().close(this.#raw);
    this.#raw = -1;
  }
}

/** A descriptor: owned, or just its number. */
export type AnyFd = Fd | number;

/** The number of a descriptor. */
export function rawFd(fd: AnyFd): number {
  return typeof fd === "number" ? fd : fd.raw;
}

/**
 * A path that leads to what the descriptor is open on.
 *
 * For calls that refuse an O_PATH descriptor (f*xattr, fchmod: EBADF): give the path to the form that follows symbolic
 * links (`getxattr`, not `lgetxattr`). Needs /proc; valid as long as the descriptor is open, in this process.
 */
export function procFdPath(fd: AnyFd): string {
  return `/proc/self/fd/${rawFd(fd)}`;
}
