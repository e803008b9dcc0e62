/**
 * Standard output and standard error of the command line.
 *
 * @module
 */
import { stateOf } from "../base/error_report.ts";
import { NydusGdError } from "../base/errors.ts";
import type { Output } from "./actions.ts";

const encoder = new TextEncoder();

/**
 * Wraps a stream of this process. A closed reader causes `Deno.errors.BrokenPipe`.
 *
 * @param name of the stream in messages
 */
export function streamOutput(stream: typeof Deno.stdout | typeof Deno.stderr, name: string): Output {
  const isTerminal = stream.isTerminal();
  let writes = 0;
  return {
    isTerminal,
    get writes() {
      return writes;
    },
    get size() {
      const size = isTerminal ? Deno.consoleSize() : undefined;
      return size?.columns === 0 ? undefined : size; // one that does not know its size, as of a serial line
    },
    write(text) {
      writes++;
      const bytes = encoder.encode(text);
      try {
        for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) throw error;
        throw new NydusGdError("io", `Cannot write to ${name}: ${stateOf(error)}`, { cause: error });
      }
    },
  };
}

/** How texts are shown. */
export interface TextLook {
  readonly hasColours: boolean;
  /** Of the terminal, at which texts are wrapped; undefined: they are not. */
  readonly columns: number | undefined;
}

/** Whether to colour output: only on a terminal, and unless NO_COLOR is set. */
export function hasColours(output: Output): boolean {
  return output.isTerminal && !Deno.noColor;
}

/** How texts are shown on an output. */
export function lookOf(output: Output): TextLook {
  return { hasColours: hasColours(output), columns: output.size?.columns };
}

/** Cuts lines to the size of the terminal: redrawing fails for lines that wrap or scroll. */
export function fitted(lines: readonly string[], { size }: Output): string[] {
  if (size === undefined) return [...lines];
  const { columns, rows } = size;
  const cut = (line: string) => line.length < columns ? line : `${line.slice(0, Math.max(0, columns - 2))}…`;
  return lines.slice(0, Math.max(1, rows - 1)).map(cut);
}

/** Breaks a line between words; a longer word stays whole. @param width in columns */
export function wrapped(line: string, width: number): string[] {
  const lines: string[] = [];
  let last = "";
  for (const word of line.split(" ")) {
    if (last !== "" && last.length + 1 + word.length > width) {
      lines.push(last);
      last = word;
    } else last = last === "" ? word : `${last} ${word}`;
  }
  return [...lines, last];
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
