/**
 * Helpers shared by the command files.
 *
 * @module
 */

/** Runs a command's work with its arguments. */
export type Run<Args> = (args: Args) => Promise<void>;

/** Returns the final section of a help text, with one command line per line. */
export function examples(...lines: string[]): string {
  return `\nExample${lines.length > 1 ? "s" : ""}:\n${lines.map((line) => `  $ ${line}`).join("\n")}\n`;
}
