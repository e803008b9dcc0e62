/**
 * Standard output and standard error as the command line uses them.
 *
 * @module
 */
import type { Output } from "./actions.ts";

const encoder = new TextEncoder();

/** A stream of this process. A reader that went away surfaces as `Deno.errors.BrokenPipe`. */
export function streamOutput(stream: typeof Deno.stdout | typeof Deno.stderr): Output {
  const isTerminal = stream.isTerminal();
  return {
    isTerminal,
    get size() {
      return isTerminal ? Deno.consoleSize() : undefined;
    },
    write(text) {
      const bytes = encoder.encode(text);
      for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
    },
  };
}

/** Whether to colour what goes to `output`: only a terminal, and not where NO_COLOR is set. */
export function hasColours(output: Output): boolean {
  return output.isTerminal && !Deno.noColor;
}

/** The lines as far as the terminal has room: one that wraps, or scrolls, is not where it is drawn over. */
export function fitted(lines: readonly string[], { size }: Output): string[] {
  if (size === undefined) return [...lines];
  const { columns, rows } = size;
  const cut = (line: string) => line.length < columns ? line : `${line.slice(0, Math.max(0, columns - 2))}…`;
  return lines.slice(0, Math.max(1, rows - 1)).map(cut);
}

/**
 * The text on one line, and safe to show: names inside messages come from images, and must neither break the line nor
 * steer the terminal.
 */
export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, "; ")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
