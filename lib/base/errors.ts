/**
 * The one error type that crosses rooms, and the helper for failures that are expected.
 *
 * A message reads `Cannot <do> <what>: <state>` without a full stop. The code is stable and what programs compare;
 * the hint is a command or a configuration key that mends it. Each border translates once: errno for the kernel,
 * `{Err}` for Docker, exit code and one line for the terminal.
 *
 * @module
 */

/** Stable codes; new ones are added here and nowhere else. */
const ERROR_CODES = [
  "usage", // the caller's words are off
  "config", // a configuration key or file is wrong
  "not-found", // the thing asked for does not exist
  "exists", // it exists already
  "invalid-image", // bytes that are not what they claim to be
  "unsupported", // understood, and refused by name
  "unauthorized", // credentials missing or refused
  "unavailable", // a server does not answer as it should
  "corrupt", // data that does not match its digest
  "busy", // somebody else holds it
  "environment", // kernel, library, device or privilege is missing
  "interrupted", // cancelled by the caller
  "io", // the operating system refused
  "internal", // a defect of this program
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Whether a word, of another process perhaps, is one of the codes. */
export function isErrorCode(word: string): word is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(word);
}

/** What {@link NydusGdError} takes beside code and message. */
export interface ErrorDetails {
  /** A command or configuration key that mends it. */
  hint?: string;
  /** The failure below this one. */
  cause?: unknown;
}

/** An error that a person or another room is meant to read. */
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

/** True when `error` is a {@link NydusGdError} with one of the given codes. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is NydusGdError {
  return error instanceof NydusGdError && codes.includes(error.code);
}

/** What failed first, where something else failed while that was cleaned up after. */
export function firstFailure(error: unknown): unknown {
  return error instanceof SuppressedError ? firstFailure(error.suppressed) : error;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  const first = firstFailure(error);
  return first instanceof Error ? first.message : String(first);
}

/** Waits for `promise`; a rejection with one of the given classes counts as undefined. */
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
