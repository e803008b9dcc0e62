/**
 * Standard output and standard error as the command line uses them.
 *
 * @module
 */
import type { Output } from "./actions.ts";

const encoder = new TextEncoder();

/** A stream of this process. A reader that went away surfaces as `Deno.errors.BrokenPipe`. */
export function streamOutput(stream: typeof Deno.stdout | typeof Deno.stderr): Output {
  return {
    isTerminal: stream.isTerminal(),
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

/**
 * The text on one line, and safe to show: names inside messages come from images, and must neither break the line nor
 * steer the terminal.
 */
export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, "; ")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
