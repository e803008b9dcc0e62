/**
 * Retries with exponential backoff.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { delay, throwIfAborted } from "../../base/abort.ts";
import { logger } from "../../base/log.ts";
import type { FetchOptions } from "./fetch_options.ts";
import { TransferError } from "./transfer_error.ts";

const log = logger("backend");

/** Average delay before the first retry; doubled for each further one. */
const FIRST_PAUSE_MS = 100;
/**
 * Average delay between attempts of {@link whileTransient}, each of which may have retries of its own, and between those
 * of a patient {@link withRetries}.
 */
const PATIENT_PAUSE_MS = 1_000;
/** Maximum delay, whatever a server asks for, since a reader is waiting. */
const MAX_PAUSE_MS = 10_000;
/** Waits that a server asks for are logged from this length on: whoever looks on would take them for a hang. */
const LOGGED_WAIT_MS = 1_000;
/** How soon the same server's next one is logged at the earliest. */
const LOG_EVERY_MS = 60_000;

/**
 * Returns the delay before retry `attempt` (from 1): exponential, with ±50 % jitter, and at least what the server asked
 * for, or up to half more: what was refused together would else be refused together again.
 */
export function pauseBefore(attempt: number, retryAfterMs: number | undefined, random = Math.random): number {
  return spreadPause(FIRST_PAUSE_MS * 2 ** (attempt - 1), retryAfterMs, random);
}

function spreadPause(averageMs: number, retryAfterMs: number | undefined, random = Math.random): number {
  return Math.min(MAX_PAUSE_MS, Math.max(averageMs * (0.5 + random()), (retryAfterMs ?? 0) * (1 + random() / 2)));
}

/** Parses Retry-After, in seconds or as a date; undefined if it is neither. */
export function parseRetryAfter(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** When {@link withRetries} gives up. */
export type RetryLimits = Pick<FetchOptions, "retries" | "pausesTimeoutMs" | "patienceMs">;

/**
 * Runs `attempt` until it succeeds, fails permanently, has been retried `retries` times, or the time for pauses is over.
 * A server that does not answer, or only that it is unable to, is asked about once a second after these retries for as
 * long as there is patience. The argument tells whether this is the last retry or a later one, which may take another
 * route.
 */
export async function withRetries<T>(
  { retries, pausesTimeoutMs, patienceMs }: RetryLimits,
  signal: AbortSignal | undefined,
  attempt: (isLastRepetition: boolean) => Promise<T>,
): Promise<T> {
  let leftMs = pausesTimeoutMs || Infinity;
  let failedMs: number | undefined;
  for (let repetition = 1;; repetition++) {
    try {
      return await attempt(repetition > 1 && repetition > retries);
    } catch (error) {
      throwIfAborted(signal);
      if (!(error instanceof TransferError) || error.prospect === "permanent") throw error;
      failedMs ??= performance.now();
      const hasRetries = repetition <= retries;
      const patienceLeftMs = isAway(error) ? failedMs + patienceMs - performance.now() : 0;
      if (leftMs <= 0 || !hasRetries && patienceLeftMs <= 0) throw error;
      if (!hasRetries) logAway(error, patienceLeftMs);
      const { retryAfterMs } = error;
      const wantedMs = hasRetries ? pauseBefore(repetition, retryAfterMs) : spreadPause(PATIENT_PAUSE_MS, retryAfterMs);
      const pauseMs = Math.min(leftMs, wantedMs);
      leftMs -= pauseMs;
      logWait(error);
      await delay(pauseMs, signal);
    }
  }
}

/** Whether a server may be back soon: it did not answer as it should, or is unable to. */
function isAway({ status }: TransferError): boolean {
  return status === undefined || status === 429 || status >= 500;
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
      logWait(error);
    }
  }
}

/** Number of states that are remembered as logged; a state may name a URL. */
const STATES_REMEMBERED = 1000;
/** Until when no further log entry is due, by the state that a server answered with; on the monotonic clock. */
const loggedUntilMs = new LRUCache<string, number>({ max: STATES_REMEMBERED });

/** Logs that a server asks to wait, once for a while. */
function logWait({ state, retryAfterMs = 0 }: TransferError): void {
  if (retryAfterMs < LOGGED_WAIT_MS || !isNews(state, retryAfterMs)) return;
  log.warn("a server asks to wait", { error: state, seconds: Math.ceil(retryAfterMs / 1000) });
}

/** Logs that a server is waited for, once for a while. */
function logAway({ state }: TransferError, patienceMs: number): void {
  if (!isNews(state, patienceMs)) return;
  log.warn("a server is away, it is asked again", { error: state, seconds: Math.ceil(patienceMs / 1000) });
}

/** Whether a state has not been logged for a while. It counts as logged then, for this long at least. */
function isNews(state: string, forMs: number): boolean {
  const now = performance.now();
  if (now < (loggedUntilMs.get(state) ?? -Infinity)) return false;
  loggedUntilMs.set(state, now + Math.max(forMs, LOG_EVERY_MS));
  return true;
}
