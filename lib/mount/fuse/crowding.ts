/**
 * Whether processors are scarce: a thread waited longer for one than it had one.
 *
 * Source: /proc/PID/task/TID/schedstat, `<ns with a processor> <ns waiting for one> <times>`, Documentation/scheduler
 * of Linux 6.18. Where the kernel does not keep it, or there is no /proc, processors count as plenty.
 *
 * @module
 */
import { SyscallError } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { pread } from "../../../ffi/unistd.ts";

/** Milliseconds that are judged at once, at least. */
const PERIOD_MS = 10;
/** Three numbers of 64 bits and what parts them. */
const TEXT_BYTES = 64;

/** What it costs the thread that makes it to get a processor. */
export class Crowding implements Disposable {
  readonly #file: Fd | undefined = openOwn();
  readonly #text = new Uint8Array(TEXT_BYTES);
  readonly #decoder = new TextDecoder();
  #ranNs = 0;
  #waitedNs = 0;
  #judgedAt = 0;
  #isCrowded = false;

  /**
   * Whether it waited longer than it ran of late.
   *
   * @param now by `performance.now()`
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
