/**
 * A single check of `nydus-gd doctor` and its result.
 *
 * ```ts
 * const check: Check = { group: "kernel", name: "/dev/fuse", run: async () => ok("can be opened") };
 * ```
 * A check reports what it saw and, on a problem, the command or configuration key that fixes it. It leaves nothing
 * behind. A check fails if it throws, with the error's hint, or if it exceeds {@link Check.timeoutMs}.
 *
 * @module
 */
import { Deadline, interruption, unlessAborted, whenAborted } from "../base/abort.ts";
import { describeError } from "../base/error_report.ts";
import { NydusGdError } from "../base/errors.ts";

/** "warn": works, but not as it should. "skipped": could not be checked, or nothing to check. */
export type Verdict = "ok" | "warn" | "fail" | "skipped";

/** Result of a check. */
export interface Outcome {
  readonly verdict: Verdict;
  /** What was observed, without a full stop. */
  readonly seen: string;
  /** Command or configuration key that fixes it. */
  readonly mend?: string;
}

/** A check. */
export interface Check {
  readonly group: string;
  readonly name: string;
  /** Default: {@link CHECK_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
  /** What to do if it throws or takes too long, and the error does not say. */
  readonly mend?: string;
  run(signal: AbortSignal): Promise<Outcome> | Outcome;
}

/** An outcome and the check that made it. */
export interface CheckResult extends Outcome {
  readonly group: string;
  readonly name: string;
}

/** Default timeout of a check. */
const CHECK_TIMEOUT_MS = 5_000;
/** Time for a check that timed out to clean up. */
const CLEAN_UP_MS = 5_000;

/** Everything is as it should be. */
export function ok(seen: string): Outcome {
  return { verdict: "ok", seen };
}

/** Works, but not as it should. */
export function warn(seen: string, mend?: string): Outcome {
  return outcome("warn", seen, mend);
}

/** Something does not work. */
export function fail(seen: string, mend: string | undefined): Outcome {
  return outcome("fail", seen, mend);
}

/** Could not be checked. */
export function skipped(seen: string, mend?: string): Outcome {
  return outcome("skipped", seen, mend);
}

/** A failure, with the hint of the error. */
export function failedWith(error: unknown, mend?: string): Outcome {
  const { message, hint } = describeError(error);
  return fail(message, hint ?? mend);
}

/** Runs a check within its timeout, and then gives it time to clean up. Rejects only when `signal` is aborted. */
export async function perform(check: Check, signal: AbortSignal): Promise<CheckResult> {
  const { group, name, timeoutMs = CHECK_TIMEOUT_MS } = check;
  const timeoutError = () => new NydusGdError("unavailable", `no answer within ${timeoutMs / 1000} s`);
  using deadline = new Deadline(timeoutMs, signal, timeoutError);
  const running = run(check, deadline.signal);
  try {
    return { group, name, ...await unlessAborted(running, deadline.signal) };
  } catch (error) {
    using cleanUp = new Deadline(CLEAN_UP_MS, undefined, timeoutError);
    if (deadline.signal.aborted) await Promise.race([Promise.allSettled([running]), whenAborted(cleanUp.signal)]);
    if (signal.aborted) throw interruption(signal);
    return { group, name, ...failedWith(error, check.mend) };
  }
}

async function run(check: Check, signal: AbortSignal): Promise<Outcome> {
  return await check.run(signal);
}

function outcome(verdict: Verdict, seen: string, mend: string | undefined): Outcome {
  return mend === undefined ? { verdict, seen } : { verdict, seen, mend };
}
