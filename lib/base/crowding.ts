/**
 * Detects that processors are scarce: a thread has waited longer for a processor than it has run.
 *
 * Source: /proc/PID/task/TID/schedstat, `<ns running> <ns waiting to run> <timeslices>`, Documentation/scheduler of Linux
 * 6.18. If the kernel does not provide it, or /proc is not mounted, processors never count as scarce.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { pread } from "../../ffi/unistd.ts";

/** Minimum length of a sampling period, in milliseconds. */
const PERIOD_MS = 10;
/** Maximum length of the file: three 64-bit numbers and separators. */
const TEXT_BYTES = 64;

/** Samples the thread that creates it. */
export class Crowding implements Disposable {
  readonly #file: Fd | undefined = openOwn();
  readonly #text = new Uint8Array(TEXT_BYTES);
  readonly #decoder = new TextDecoder();
  #ranNs = 0;
  #waitedNs = 0;
  #judgedAt = 0;
  #isCrowded = false;

  /**
   * Whether the thread waited longer than it ran in the last period.
   *
   * @param now the current `performance.now()`
   */
  isCrowded(now: number): boolean {
    if (this.#file !== undefined && now - this.#judgedAt >= PERIOD_MS) {
      this.#judgedAt = now;
      this.#judge(this.#file);
    }
    return this.#isCrowded;
  }

  #judge(file: Fd): void {
    const length = pread(file, this.#text, 0);
    const [ranNs = 0, waitedNs = 0] = this.#decoder.decode(this.#text.subarray(0, length)).split(" ").map(Number);
    this.#isCrowded = waitedNs - this.#waitedNs > ranNs - this.#ranNs;
    this.#ranNs = ranNs;
    this.#waitedNs = waitedNs;
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
  }
}

function openOwn(): Fd | undefined {
  try {
    return open("/proc/thread-self/schedstat", O.RDONLY);
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}
