/**
 * Keeps pages in memory that the kernel has been allowed to read and the disk may lose.
 *
 * ```
 * hold ─► has the disk lost any? ─ no ─► allow ─► the kernel reads ─► release, a moment later
 * ```
 * The kernel may drop a page that it could not write to the disk as soon as it has noted the error, and then reads zeros
 * without telling. It drops none that a process has mapped and locked.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import type { AnyFd } from "../../../ffi/fd.ts";
import { Mapping, pageSize } from "../../../ffi/sys_mman.ts";

/** How long the kernel may take to read what it was allowed to. */
const HOLD_MS = 1000;
/** Each takes a mapping of the process, of which Linux permits 65530. */
const MAX_HELD = 4096;

/** Pages that one thread holds. */
export class HeldPages implements Disposable {
  readonly #held: { readonly mapping: Mapping; readonly untilMs: number }[] = [];
  /** Does not fire while the thread waits in the kernel. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Holds `[offset, offset + count)` of a file for a while, as far as this process may lock memory. */
  hold(fd: AnyFd, offset: number, count: number): void {
    const start = offset - offset % pageSize();
    try {
      const mapping = Mapping.ofFile(fd, offset + count - start, { shared: true, locked: true, offset: start });
      this.#held.push({ mapping, untilMs: performance.now() + HOLD_MS });
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error; // no more memory may be locked
    }
    this.release();
  }

  /** Releases what has been held long enough. To be called by a thread that has nothing to do. */
  release(): void {
    const now = performance.now();
    let count = Math.max(0, this.#held.length - MAX_HELD);
    while (count < this.#held.length && (this.#held[count]?.untilMs ?? 0) <= now) count++;
    for (const { mapping } of this.#held.splice(0, count)) mapping[Symbol.dispose]();
    if (this.#held.length > 0) this.#timer ??= setTimeout(() => this.#releaseLater(), HOLD_MS);
  }

  #releaseLater(): void {
    this.#timer = undefined;
    this.release();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const { mapping } of this.#held.splice(0)) mapping[Symbol.dispose]();
  }
}
