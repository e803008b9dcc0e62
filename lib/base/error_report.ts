/**
 * Describes anything that was thrown for a user: a message of the form `Cannot <do> <what>: <state>`, and a hint.
 *
 * The runtime puts the failed call behind the state ("Not a directory (os error 20): readdir '/x'"), node's modules have
 * a format of their own ("ENOTDIR: not a directory, rename '/x' -> '/y'"). Both become "Cannot readdir /x: not a
 * directory". Where such a message is the state of one of ours, only the state is kept of it.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { firstFailure, messageOf } from "./errors.ts";

/** Hint for a process that has run out of file descriptors. */
export const OPEN_FILES_HINT = "raise the limit of open files (ulimit -n, LimitNOFILE=)";

/** Hint for a process that may start no further thread or process. */
export const TASKS_HINT = "raise the limit of tasks of its control group (TasksMax=, docker run --pids-limit)";

/** Hint for a file that may not grow. */
export const FILE_SIZE_HINT = "raise the limit of file sizes (ulimit -f, LimitFSIZE=)";

/** Hint for a file system that takes no writes. */
export const READ_ONLY_HINT = "dmesg may tell why the kernel made the file system read-only; then mount -o remount,rw";

/** Deno's format; with the call and its path if they are known. */
const OF_DENO = /^(.+?) \(os error \d+\)(?:: (\w+)(?: '(.+)')?)?$/s;
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
  if (state.startsWith("Cannot ")) return { message: state, hint: hintOf(error) };
  const what = call === undefined ? "continue" : [call, path?.replace("' -> '", " to ")].filter(Boolean).join(" ");
  const text = `Cannot ${what}: ${lowered(state)}`;
  return { message: text, hint: hintOfState(state) ?? hintOf(error) };
}

/** What the system says of a failed call, without the call: "not a directory". Of any other error its message. */
export function stateOf(thrown: unknown): string {
  const message = messageOf(thrown);
  const [, state] = OF_DENO.exec(message) ?? OF_NODE.exec(message) ?? [];
  return state === undefined ? message : lowered(state);
}

function lowered(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

function hintOfState(state: string): string | undefined {
  if (/^read-only file system/i.test(state)) return READ_ONLY_HINT;
  if (/^resource temporarily unavailable/i.test(state)) return TASKS_HINT;
  if (/^file too large/i.test(state)) return FILE_SIZE_HINT;
  return /^too many open files/i.test(state) ? OPEN_FILES_HINT : undefined;
}

function hintOf(error: unknown): string | undefined {
  const hint = error instanceof Error && "hint" in error ? error.hint : undefined;
  if (typeof hint === "string") return hint;
  if (isErrno(error, "EROFS")) return READ_ONLY_HINT;
  if (isErrno(error, "EFBIG")) return FILE_SIZE_HINT;
  return isErrno(error, "EMFILE", "ENFILE") ? OPEN_FILES_HINT : undefined;
}
