/**
 * A transient progress line on a terminal.
 *
 * @module
 */
import { bytesText } from "../base/byte_text.ts";
import type { Output } from "./actions.ts";
import { fitted } from "./output.ts";

/** Minimum milliseconds between redraws. */
const INTERVAL_MS = 100;

/** Terminal sequence: start of the line, erase to its end. */
const CLEAR = "\r\x1b[K";

/** A progress line, shown only on a terminal. Disposing clears it. */
export class ProgressLine implements Disposable {
  #shownAt = Number.NEGATIVE_INFINITY;

  /** @param what "verified" */
  constructor(private readonly output: Output, private readonly what: string) {}

  /** Updates the line. `totalBytes` is 0 if unknown. */
  show(doneBytes: number, totalBytes: number): void {
    if (!this.output.isTerminal) return;
    const now = performance.now();
    if (now - this.#shownAt < INTERVAL_MS) return;
    this.#shownAt = now;
    const share = totalBytes > 0 ? ` (${Math.min(100, Math.floor(100 * doneBytes / totalBytes))} %)` : "";
    const of = totalBytes > 0 ? ` of ${bytesText(totalBytes)}` : "";
    const [line] = fitted([`${this.what} ${bytesText(doneBytes)}${of}${share}`], this.output);
    this.output.write(`${CLEAR}${line}`);
  }

  [Symbol.dispose](): void {
    if (this.#shownAt > Number.NEGATIVE_INFINITY) this.output.write(CLEAR);
  }
}
