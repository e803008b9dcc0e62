/**
 * Owned file descriptors.
 *
 * A descriptor number from the kernel is wrapped in an {@link Fd} at once, so that `using` closes it on every path.
 * Functions of this folder accept {@link AnyFd}, because a Worker knows descriptors of other threads only by number.
 *
 * @module
 */
import { check, loadLibc } from "./libc.ts";

const libc = loadLibc({
  close: { parameters: ["i32"], result: "i32" }, // int close(int fd)
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" }, // int fcntl(int fd, int cmd, ...)
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32" }, // int dup3(int oldfd, int newfd, int flags)
});

/** fcntl(2) commands, linux/fcntl.h and asm-generic/fcntl.h 6.18. */
const F_SETFD = 2;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;
/** Flag of dup3(2), fcntl.h. */
const O_CLOEXEC = 0o2000000;

/** A file descriptor that this object owns and closes. */
export class Fd implements Disposable {
  #raw: number;

  private constructor(raw: number) {
    this.#raw = raw;
  }

  /** Takes ownership of a descriptor just returned by a system call. */
  static own(raw: number): Fd {
    if (!Number.isInteger(raw) || raw < 0) throw new RangeError(`Cannot own descriptor: number is ${raw}`);
    return new Fd(raw);
  }

  /** The descriptor number, for system calls. Throws after it was closed. */
  get raw(): number {
    if (this.#raw < 0) throw new Error("Cannot use descriptor: already closed");
    return this.#raw;
  }

  get closed(): boolean {
    return this.#raw < 0;
  }

  /** Returns a second descriptor of the same open file, close-on-exec. */
  duplicate(): Fd {
    return new Fd(check(libc().fcntl(this.raw, F_DUPFD_CLOEXEC, 0n), "duplicate descriptor", this.raw));
  }

  /** Sets whether the descriptor is closed in programs that this process starts. */
  setCloseOnExec(on: boolean): void {
    check(libc().fcntl(this.raw, F_SETFD, on ? BigInt(FD_CLOEXEC) : 0n), "set close-on-exec of", this.raw);
  }

  /** Gives up the descriptor without closing it. The caller then owns the number. */
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

/** A descriptor: owned, or only its number. */
export type AnyFd = Fd | number;

/**
 * Makes the number `raw` a descriptor of the open file of `fd`, close-on-exec. What it was a descriptor of is closed.
 * For numbers that C keeps.
 */
export function redirect(raw: number, fd: Fd): void {
  check(libc().dup3(fd.raw, raw, O_CLOEXEC), "redirect descriptor", raw);
}

/** The number of a descriptor. */
export function rawFd(fd: AnyFd): number {
  return typeof fd === "number" ? fd : fd.raw;
}

/**
 * Path that refers to the file on which the descriptor is open.
 *
 * For calls that reject an O_PATH descriptor (f*xattr, fchmod: EBADF): pass the path to the variant that follows
 * symbolic links (`getxattr`, not `lgetxattr`). Requires /proc. Valid in this process while the descriptor is open.
 */
export function procFdPath(fd: AnyFd): string {
  return `/proc/self/fd/${rawFd(fd)}`;
}

/**
 * A path to `name` in the open folder, for calls without a directory descriptor. Those that do not follow the last
 * component (`lgetxattr`) act on `name` itself.
 */
export function pathBelow(folder: AnyFd, name: Uint8Array): Uint8Array<ArrayBuffer> {
  const prefix = new TextEncoder().encode(`${procFdPath(folder)}/`);
  const path = new Uint8Array(prefix.length + name.length);
  path.set(prefix);
  path.set(name, prefix.length);
  return path;
}
