/**
 * Small JSON files that are replaced atomically (replace_file.ts).
 *
 * Writers of one file in this process take turns in call order; only one process may write a file.
 *
 * @module
 */
import { stateOf } from "./error_report.ts";
import { ignore, NydusGdError } from "./errors.ts";
import { KeyedMutex } from "./keyed_mutex.ts";
import { type Outlives, replaceFile } from "./replace_file.ts";

/** Locks by path, because two writers would share the temporary file. */
const writing = new KeyedMutex<string>();

/**
 * Reads and parses a file; undefined if it does not exist.
 *
 * @throws {SyntaxError} on invalid JSON
 * @throws {NydusGdError} "io" if it cannot be read, with a hint
 */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readStateText(path);
  return text === undefined ? undefined : JSON.parse(text);
}

/**
 * Reads a file of our own; undefined if it does not exist.
 *
 * @throws {NydusGdError} "io" if it cannot be read, with a hint
 */
export async function readStateText(path: string): Promise<string | undefined> {
  try {
    return await ignore(Deno.errors.NotFound, Deno.readTextFile(path));
  } catch (error) {
    const hint = error instanceof Deno.errors.IsADirectory
      ? `mv ${path} ${path}.aside`
      : `check owner, mode and attributes (lsattr) of ${path}, and its disk`;
    throw new NydusGdError("io", `Cannot read "${path}": ${stateOf(error)}`, { hint, cause: error });
  }
}

/**
 * Returns the time in milliseconds, and not less than that of the last change of a file if the clock was set back: a
 * number that is greater than all that were given out slower than one a millisecond.
 */
export async function timeAfterChange(path: string): Promise<number> {
  const info = await ignore(Deno.errors.NotFound, Deno.stat(path));
  return Math.max(Date.now(), Math.ceil(info?.mtime?.getTime() ?? 0));
}

/**
 * Replaces the file atomically and, for "reboot", durably: readers see either the old content or the new. Mode 0600.
 * Serializes `value` at the time of the call. A failure leaves the old content.
 */
export async function writeJsonFile(path: string, value: unknown, outlives: Outlives = "reboot"): Promise<void> {
  const text = JSON.stringify(value) + "\n";
  await writing.run(path, () => replaceFile(path, text, outlives));
}
