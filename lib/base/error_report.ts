/**
 * Describes anything that was thrown for a user: a message of the form `Cannot <do> <what>: <state>`, and a hint.
 *
 * The runtime puts the failed call behind the state ("Not a directory (os error 20): readdir '/x'"), node's modules have
 * a format of their own ("ENOTDIR: not a directory, rename '/x' -> '/y'"). Both become "Cannot readdir /x: not a
 * directory".
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { firstFailure, messageOf } from "./errors.ts";

/** Hint for a process that has run out of file descriptors. */
export const OPEN_FILES_HINT = "raise the limit of open files (ulimit -n, LimitNOFILE=)";

/** Deno's format; with the call if it is known. */
const OF_DENO = /^(.+?) \(os error \d+\)(?:: (\w+) '(.+)')?$/s;
/** Format of node's modules. */
const OF_NODE = /^E[A-Z0-9]+: (.+?)(?:, (\w+) '(.+)')?$/s;

/** A message and its hint. */
export interface ErrorReport {
  readonly message: string;
  readonly hint: string | undefined;
}

/** Returns message and hint; a message in the form above is kept as it is. */
export function describeError(thrown: unknown): ErrorReport {
  const error = firstFailure(thrown);
  const message = messageOf(error);
  const [, state, call, path] = OF_DENO.exec(message) ?? OF_NODE.exec(message) ?? [];
  if (state === undefined) return { message, hint: hintOf(error) };
  const what = call === undefined ? "continue" : `${call} ${path?.replace("' -> '", " to ")}`;
  const text = `Cannot ${what}: ${state.charAt(0).toLowerCase()}${state.slice(1)}`;
  return { message: text, hint: /^too many open files/i.test(state) ? OPEN_FILES_HINT : hintOf(error) };
}

function hintOf(error: unknown): string | undefined {
  const hint = error instanceof Error && "hint" in error ? error.hint : undefined;
  if (typeof hint === "string") return hint;
  return isErrno(error, "EMFILE", "ENFILE") ? OPEN_FILES_HINT : undefined;
}
