/**
 * What the command files share.
 *
 * @module
 */

/** Hands the arguments of a command over to its work. */
export type Run<Args> = (args: Args) => Promise<void>;

/** The closing part of a help text: one command line per line. */
export function examples(...lines: string[]): string {
  return `\nExample${lines.length > 1 ? "s" : ""}:\n${lines.map((line) => `  $ ${line}`).join("\n")}\n`;
}
