/**
 * The common error type of all layers, and helpers for expected failures.
 *
 * A message reads `Cannot <do> <what>: <state>` without a full stop. The code is stable and meant for programs; the
 * hint is a command or configuration key that fixes the problem. Errors are translated once per boundary: errno for the
 * kernel, `{Err}` for Docker, exit code and one line for the terminal.
 *
 * @module
 */

/** Stable codes; new ones are added only here. */
const ERROR_CODES = [
  "usage", // invalid arguments
  "config", // a configuration key or file is invalid
  "not-found", // the requested object does not exist
  "exists", // it already exists
  "invalid-image", // bytes do not have the claimed format
  "unsupported", // recognized, but not supported
  "unauthorized", // credentials are missing or refused
  "unavailable", // a server does not answer as expected
  "corrupt", // data do not match their digest
  "busy", // in use by another process
  "environment", // kernel, library, device or privilege is missing
  "interrupted", // cancelled by the caller
  "io", // a system call failed
  "internal", // a bug in this program
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Whether a word, for instance from another process, is one of the codes. */
export function isErrorCode(word: string): word is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(word);
}

/** Optional properties of a {@link NydusGdError}. */
export interface ErrorDetails {
  /** A command or configuration key that fixes the problem. */
  hint?: string;
  /** The underlying error. */
  cause?: unknown;
}

/** An error meant for a person or another layer. */
export class NydusGdError extends Error {
  override readonly name: string = "NydusGdError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
  }
}

/** Whether `error` is a {@link NydusGdError} with one of the given codes. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is NydusGdError {
  return error instanceof NydusGdError && codes.includes(error.code);
}

/** Returns the original error if a later one occurred during cleanup. */
export function firstFailure(error: unknown): unknown {
  return error instanceof SuppressedError ? firstFailure(error.suppressed) : error;
}

/** Message of any thrown value. */
export function messageOf(error: unknown): string {
  const first = firstFailure(error);
  return first instanceof Error ? first.message : String(first);
}

/** Awaits `promise`, but resolves to undefined if it rejects with one of the given error classes. */
export async function ignore<T>(
  expected: (new (...args: never[]) => Error) | (new (...args: never[]) => Error)[],
  promise: Promise<T>,
): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    for (const kind of Array.isArray(expected) ? expected : [expected]) {
      if (error instanceof kind) return undefined;
    }
    throw error;
  }
}
