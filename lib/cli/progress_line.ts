/**
 * One line on a terminal that tells how far something is, and goes when it is done.
 *
 * @module
 */
import { bytesText } from "../base/byte_text.ts";
import type { Output } from "./actions.ts";

/** Milliseconds between two looks of the line. */
const INTERVAL_MS = 100;

/** Terminal: start of the line, erase to its end. */
const CLEAR = "\r\x1b[K";

/** Nothing is written to what is no terminal. Disposing clears the line. */
export class ProgressLine implements Disposable {
  #shownAt = Number.NEGATIVE_INFINITY;

  /** @param what "verified" */
  constructor(private readonly output: Output, private readonly what: string) {}

  /** Bytes that are done, of all; 0 where that is not known. */
  show(doneBytes: number, totalBytes: number): void {
    if (!this.output.isTerminal) return;
    const now = performance.now();
    if (now - this.#shownAt < INTERVAL_MS) return;
    this.#shownAt = now;
    const share = totalBytes > 0 ? ` (${Math.min(100, Math.floor(100 * doneBytes / totalBytes))} %)` : "";
    const of = totalBytes > 0 ? ` of ${bytesText(totalBytes)}` : "";
    this.output.write(`${CLEAR}${this.what} ${bytesText(doneBytes)}${of}${share}`);
  }

  [Symbol.dispose](): void {
    if (this.#shownAt > Number.NEGATIVE_INFINITY) this.output.write(CLEAR);
  }
}
