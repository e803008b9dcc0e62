/**
 * Retries with exponential backoff.
 *
 * @module
 */
import { delay, throwIfAborted } from "../../base/abort.ts";
import { TransferError } from "./transfer_error.ts";

/** Average delay before the first retry; doubled for each further one. */
const FIRST_PAUSE_MS = 100;
/** Average delay between attempts of {@link whileTransient}, each of which may have retries of its own. */
const PATIENT_PAUSE_MS = 1_000;
/** Maximum delay, whatever a server asks for, since a reader is waiting. */
const MAX_PAUSE_MS = 10_000;

/**
 * Returns the delay before retry `attempt` (from 1): exponential, with ±50 % jitter, and at least what the server asked
 * for.
 */
export function pauseBefore(attempt: number, retryAfterMs: number | undefined, random = Math.random): number {
  return spreadPause(FIRST_PAUSE_MS * 2 ** (attempt - 1), retryAfterMs, random);
}

function spreadPause(averageMs: number, retryAfterMs: number | undefined, random = Math.random): number {
  return Math.min(MAX_PAUSE_MS, Math.max(averageMs * (0.5 + random()), retryAfterMs ?? 0));
}

/** Parses Retry-After, in seconds or as a date; undefined if it is neither. */
export function parseRetryAfter(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/**
 * Runs `attempt` until it succeeds, fails permanently, or has been retried `retries` times. The argument tells it
 * whether this is the last retry, which may take another route.
 */
export async function withRetries<T>(
  retries: number,
  signal: AbortSignal | undefined,
  attempt: (isLastRepetition: boolean) => Promise<T>,
): Promise<T> {
  for (let repetition = 1;; repetition++) {
    try {
      return await attempt(repetition > 1 && repetition > retries);
    } catch (error) {
      throwIfAborted(signal);
      if (!(error instanceof TransferError) || error.prospect === "permanent" || repetition > retries) throw error;
      await delay(pauseBefore(repetition, error.retryAfterMs), signal);
    }
  }
}

/**
 * Runs `attempt` until it succeeds, fails permanently, or `signal` is aborted. So what waits outlasts a server that is
 * restarted.
 *
 * @throws the failure of `attempt`; if the signal ends the wait, the last transient one, which names the cause
 */
export async function whileTransient<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  for (let last: TransferError | undefined;;) {
    try {
      if (last !== undefined) await delay(spreadPause(PATIENT_PAUSE_MS, last.retryAfterMs), signal);
      return await attempt();
    } catch (error) {
      if (signal.aborted) throw last ?? error;
      if (!(error instanceof TransferError) || error.prospect === "permanent") throw error;
      last = error;
    }
  }
}
