/**
 * Displays the progress of several concurrent steps: bars on a terminal, plain lines otherwise.
 *
 * ```
 * bootstrap 2892b633cb4c  [==========>         ]  1.20 MB of 2.41 MB
 * f2a1c0de7b31            [====================]  Pull complete
 * ```
 * Plain lines are written only when a status changes.
 *
 * @module
 */
import { bytesText } from "../base/byte_text.ts";
import type { Output } from "./actions.ts";
import { fitted, oneLine } from "./output.ts";

/** Width of a bar in characters. */
const BAR_WIDTH = 20;
/** Minimum milliseconds between redraws. */
const FRAME_MS = 100;
/** Terminal sequences: up one line; erase to the end of the line. */
const UP = "\x1b[A", END_LINE = "\x1b[K";

/** The progress of a step. */
export interface Step {
  /** The current activity: "Downloading". */
  readonly status: string;
  /** Bytes, if known. */
  readonly current?: number | undefined;
  readonly total?: number | undefined;
}

/** Displays steps by name. Disposing draws the final state. */
export class Progress implements Disposable {
  readonly #steps = new Map<string, Step>();
  #drawnLines = 0;
  /** The output's count of writes after the last redraw. */
  #writes: number | undefined;
  #drawnAt = -Infinity;

  constructor(private readonly output: Output) {}

  /** Updates the step `what`. */
  show(what: string, step: Step): void {
    const isNews = this.#steps.get(what)?.status !== step.status;
    this.#steps.set(what, step);
    if (!this.output.isTerminal) {
      if (isNews) this.output.write(`${oneLine(`${what}: ${step.status}`)}\n`);
    } else if (isNews || performance.now() - this.#drawnAt >= FRAME_MS) this.#draw();
  }

  [Symbol.dispose](): void {
    if (this.output.isTerminal && this.#steps.size > 0) this.#draw();
  }

  #draw(): void {
    const width = Math.max(...[...this.#steps.keys()].map((what) => what.length));
    const all = [...this.#steps].map(([what, step]) => oneLine(`${what.padEnd(width)}  ${textOf(step)}`));
    const lines = fitted(all, this.output);
    const isLast = this.output.writes === this.#writes; // else a log entry stands below
    this.output.write(
      (isLast ? UP.repeat(this.#drawnLines) : "") + lines.map((line) => `${line}${END_LINE}\n`).join(""),
    );
    this.#writes = this.output.writes;
    this.#drawnLines = lines.length;
    this.#drawnAt = performance.now();
  }
}

function textOf({ status, current, total }: Step): string {
  if (current === undefined || !total) return status;
  const done = Math.min(BAR_WIDTH, Math.floor(BAR_WIDTH * current / total));
  const bar = done === BAR_WIDTH ? "=".repeat(done) : `${"=".repeat(done)}>`.padEnd(BAR_WIDTH);
  return `[${bar}]  ${bytesText(current)} of ${bytesText(total)}`;
}
