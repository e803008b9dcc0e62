/**
 * Limits of every transfer. Times in milliseconds; 0: no limit.
 *
 * @module
 */
import type { Settings } from "../../base/settings.ts";

/** Timeouts, concurrency and retries. */
export interface FetchOptions {
  /** Maximum concurrent requests per host. */
  readonly parallelPerHost: number;
  /** Name lookup, TCP and TLS handshake together. */
  readonly connectTimeoutMs: number;
  /**
   * Maximum silence of the server: before the first byte of a response, and between two pieces. A few bytes in that
   * time count as silence (exchange.ts).
   */
  readonly readTimeoutMs: number;
  /** Duration of one request, from its start to the last byte. */
  readonly totalTimeoutMs: number;
  /** Attempts after the first one. */
  readonly retries: number;
  /** All pauses between the attempts at one request together, however long a server asks to wait. */
  readonly pausesTimeoutMs: number;
  /**
   * How long a server that has answered before is waited for in addition, counted from the first failure; 0: not at all.
   * For what nobody else repeats, such as a conversion.
   */
  readonly patienceMs: number;
}

/** Defaults where neither the settings nor nydusd's configuration set a limit. */
export const DEFAULT_FETCH_OPTIONS: FetchOptions = {
  parallelPerHost: 8,
  connectTimeoutMs: 5_000,
  readTimeoutMs: 30_000,
  totalTimeoutMs: 0,
  retries: 3,
  pausesTimeoutMs: 60_000,
  patienceMs: 0,
};

/** How many attempts at a read fit into its deadline if the server stays silent. */
const ATTEMPTS_BEFORE_DEADLINE = 4;

/**
 * Returns the limits of the settings. Caps the read timeout to leave time for retries before the deadline, which bounds
 * the pauses, too.
 */
export function fetchOptionsOf({ deadlineMs, ...limits }: Settings["fetch"]): FetchOptions {
  const readTimeoutMs = Math.min(limits.readTimeoutMs, Math.ceil(deadlineMs / ATTEMPTS_BEFORE_DEADLINE));
  return { ...DEFAULT_FETCH_OPTIONS, ...limits, readTimeoutMs, pausesTimeoutMs: deadlineMs };
}
