/**
 * Standard output and standard error of the command line.
 *
 * @module
 */
import type { Output } from "./actions.ts";

const encoder = new TextEncoder();

/** Wraps a stream of this process. A closed reader causes `Deno.errors.BrokenPipe`. */
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

/** Whether to colour output: only on a terminal, and unless NO_COLOR is set. */
export function hasColours(output: Output): boolean {
  return output.isTerminal && !Deno.noColor;
}

/** Cuts lines to the size of the terminal: redrawing fails for lines that wrap or scroll. */
export function fitted(lines: readonly string[], { size }: Output): string[] {
  if (size === undefined) return [...lines];
  const { columns, rows } = size;
  const cut = (line: string) => line.length < columns ? line : `${line.slice(0, Math.max(0, columns - 2))}…`;
  return lines.slice(0, Math.max(1, rows - 1)).map(cut);
}

/**
 * Puts text on one line and escapes control characters. Messages contain names from images, which must neither break
 * the line nor control the terminal.
 */
export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, "; ")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
