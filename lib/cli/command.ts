/**
 * Helpers shared by the command files.
 *
 * @module
 */
import { Option } from "@commander-js/extra-typings";

/** Runs a command's work with its arguments. */
export type Run<Args> = (args: Args) => Promise<void>;

/** Returns the final section of a help text, with one command line per line. */
export function examples(...lines: string[]): string {
  return `\nExample${lines.length > 1 ? "s" : ""}:\n${lines.map((line) => `  $ ${line}`).join("\n")}\n`;
}

/** `--output`. */
export function outputOption(): Option<"-o, --output <format>", undefined, "text", undefined, false, "text" | "json"> {
  return new Option("-o, --output <format>", "text, or one JSON document").choices(["text", "json"] as const)
    .default("text" as const);
}
