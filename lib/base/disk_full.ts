/**
 * Failed writes in words: that a disk is full, and which, is what a person can mend.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { messageOf, NydusGdError } from "./errors.ts";

/** No room, or no more of it for this user. */
const FULL: readonly unknown[] = ["ENOSPC", "EDQUOT"];

/** Whether the kernel, by whichever module, said that there is no room. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && FULL.includes(error.code);
}

/**
 * What is wrong with a write: "the disk of /x is full", or what the error says.
 *
 * @param path of the file; else the one that the kernel was given
 */
export function writeState(error: unknown, path?: string): string {
  if (!isDiskFull(error)) return messageOf(error);
  const named = path ?? (error instanceof SyscallError ? error.subject : undefined);
  return named === undefined ? "the disk is full" : `the disk of ${named} is full`;
}

/**
 * The error of a write to `path` that could not be done, if it is one of the operating system; else `error` itself.
 *
 * @param work "write /x", "convert layer sha256:…"
 */
export function writeFailure(error: unknown, work: string, path: string): unknown {
  if (!(error instanceof SyscallError) && !isDiskFull(error)) return error;
  const hint = isDiskFull(error) ? { hint: "free some space there, or name another place" } : {};
  return new NydusGdError("io", `Cannot ${work}: ${writeState(error, path)}`, { cause: error, ...hint });
}
