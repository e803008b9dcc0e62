/**
 * One thing that `nydus-gd doctor` looks at, and what it says of it.
 *
 * ```ts
 * const check: Check = { group: "kernel", name: "/dev/fuse", look: async () => ok("can be opened") };
 * ```
 * A check tells what it saw, and where something is wrong the command or the key that mends it. It leaves nothing behind.
 * What it throws counts as failed, with the error's hint; what takes longer than {@link Check.timeoutMs} too.
 *
 * @module
 */
import { Deadline, interruption, unlessAborted, whenAborted } from "../base/abort.ts";
import { messageOf, NydusGdError } from "../base/errors.ts";

/** "warn": works, but not as it should. "skipped": could not be looked at, or there is nothing to look at. */
export type Verdict = "ok" | "warn" | "fail" | "skipped";

/** What a check says. */
export interface Finding {
  readonly verdict: Verdict;
  /** What was seen, without a full stop. */
  readonly seen: string;
  /** A command, or a key of a configuration. */
  readonly mend?: string;
}

/** See the module. */
export interface Check {
  readonly group: string;
  readonly name: string;
  /** {@link LOOK_TIMEOUT_MS} unless given. */
  readonly timeoutMs?: number;
  look(signal: AbortSignal): Promise<Finding> | Finding;
}

/** A finding with what it is about. */
export interface CheckResult extends Finding {
  readonly group: string;
  readonly name: string;
}

/** How long a look may take. */
const LOOK_TIMEOUT_MS = 5_000;
/** How long one that was given up may take to remove what it made. */
const CLEAN_UP_MS = 5_000;

/** As it should be. */
export function ok(seen: string): Finding {
  return { verdict: "ok", seen };
}

/** Works, but not as it should. */
export function warn(seen: string, mend?: string): Finding {
  return finding("warn", seen, mend);
}

/** Something does not work. */
export function fail(seen: string, mend?: string): Finding {
  return finding("fail", seen, mend);
}

/** Could not be looked at. */
export function skipped(seen: string, mend?: string): Finding {
  return finding("skipped", seen, mend);
}

/** A failure with the hint that the error carries. */
export function failedWith(error: unknown, mend?: string): Finding {
  const hint = error instanceof Error && "hint" in error && typeof error.hint === "string" ? error.hint : undefined;
  return fail(messageOf(error), hint ?? mend);
}

/**
 * Looks, within the time that the check may take, and then some for it to clean up. Rejects only when `signal` is aborted.
 */
export async function perform(check: Check, signal: AbortSignal): Promise<CheckResult> {
  const { group, name, timeoutMs = LOOK_TIMEOUT_MS } = check;
  const late = () => new NydusGdError("unavailable", `no answer within ${timeoutMs / 1000} s`);
  using deadline = new Deadline(timeoutMs, signal, late);
  const looking = look(check, deadline.signal);
  try {
    return { group, name, ...await unlessAborted(looking, deadline.signal) };
  } catch (error) {
    using cleanUp = new Deadline(CLEAN_UP_MS, undefined, late);
    if (deadline.signal.aborted) await Promise.race([Promise.allSettled([looking]), whenAborted(cleanUp.signal)]);
    if (signal.aborted) throw interruption(signal);
    return { group, name, ...failedWith(error) };
  }
}

async function look(check: Check, signal: AbortSignal): Promise<Finding> {
  return await check.look(signal);
}

function finding(verdict: Verdict, seen: string, mend: string | undefined): Finding {
  return mend === undefined ? { verdict, seen } : { verdict, seen, mend };
}
