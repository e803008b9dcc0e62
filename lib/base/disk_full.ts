/**
 * Messages for failed writes. A full disk is named, because the user can fix that.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { messageOf, NydusGdError } from "./errors.ts";

/** The disk or the user's quota is exhausted. */
const FULL: readonly unknown[] = ["ENOSPC", "EDQUOT"];

/** Whether an error means that the disk is full, whichever API reported it. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && FULL.includes(error.code);
}

/**
 * Describes a failed write: "the disk of /x is full", or the message of the error.
 *
 * @param path of the file; by default the subject of the failed system call
 */
export function describeWriteError(error: unknown, path?: string): string {
  if (!isDiskFull(error)) return messageOf(error);
  const named = path ?? (error instanceof SyscallError ? error.subject : undefined);
  return named === undefined ? "the disk is full" : `the disk of ${named} is full`;
}

/**
 * Wraps an operating system error of a write to `path`; returns any other error unchanged.
 *
 * @param work "write /x", "convert layer sha256:…"
 */
export function writeFailure(error: unknown, work: string, path: string): unknown {
  if (!(error instanceof SyscallError) && !isDiskFull(error)) return error;
  const hint = isDiskFull(error) ? { hint: "free some space there, or use another location" } : {};
  return new NydusGdError("io", `Cannot ${work}: ${describeWriteError(error, path)}`, { cause: error, ...hint });
}

/**
 * Hint for failed writes to a folder.
 *
 * @param setBy the setting, option or variable that decides where the folder is
 */
export function diskHint(folder: string, setBy: string | undefined): string {
  const other = setBy === undefined ? "" : `, or set ${setBy}`;
  return `check the free space and the health of the file system of ${folder}${other}`;
}
