/**
 * What a border tells of anything that was thrown: a message in our grammar, and what mends it.
 *
 * The runtime says what failed behind the state, "Not a directory (os error 20): readdir '/x'", and node's modules
 * in words of their own, "ENOTDIR: not a directory, rename '/x' -> '/y'". Both become "Cannot readdir /x: not a
 * directory".
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { firstFailure, messageOf } from "./errors.ts";

/** What mends it when a process has no descriptors left. */
export const OPEN_FILES_HINT = "raise the limit of open files (ulimit -n, LimitNOFILE=)";

/** The runtime's words; the call where it is known. */
const OF_DENO = /^(.+?) \(os error \d+\)(?:: (\w+) '(.+)')?$/s;
/** The words of node's modules. */
const OF_NODE = /^E[A-Z0-9]+: (.+?)(?:, (\w+) '(.+)')?$/s;

/** A message, and what mends it. */
export interface ToldError {
  readonly message: string;
  readonly hint: string | undefined;
}

/** Message and hint for a reader; what is in our grammar already stays as it is. */
export function toldError(thrown: unknown): ToldError {
  const error = firstFailure(thrown);
  const message = messageOf(error);
  const [, state, call, path] = OF_DENO.exec(message) ?? OF_NODE.exec(message) ?? [];
  if (state === undefined) return { message, hint: hintOf(error) };
  const what = call === undefined ? "continue" : `${call} ${path?.replace("' -> '", " to ")}`;
  const told = `Cannot ${what}: ${state.charAt(0).toLowerCase()}${state.slice(1)}`;
  return { message: told, hint: /^too many open files/i.test(state) ? OPEN_FILES_HINT : hintOf(error) };
}

function hintOf(error: unknown): string | undefined {
  const hint = error instanceof Error && "hint" in error ? error.hint : undefined;
  if (typeof hint === "string") return hint;
  return isErrno(error, "EMFILE", "ENFILE") ? OPEN_FILES_HINT : undefined;
}
