/**
 * The words of the command line as text.
 *
 * File names are bytes, arguments in this runtime are text: where an argument is no UTF-8, it arrives with other
 * characters in the place of the wrong bytes, and would name another file.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { NydusGdError } from "../base/errors.ts";

/** What stands in the place of bytes that are no UTF-8. */
const REPLACEMENT = "\uFFFD";

/** @throws {NydusGdError} "usage" if an argument of this process is no UTF-8 */
export function requireText(args: readonly string[]): void {
  if (!args.some((word) => word.includes(REPLACEMENT))) return;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(readFileSync("/proc/self/cmdline"));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    const hint = "name the file by another path, such as that of a symbolic link to it";
    throw new NydusGdError("usage", "Cannot read the command line: an argument is not UTF-8", { hint, cause });
  }
}
