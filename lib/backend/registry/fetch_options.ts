/**
 * Limits of every transfer. Times in milliseconds, 0 for no limit.
 *
 * @module
 */

/** How long, how many and how often. */
export interface FetchOptions {
  /** Requests to one host at a time. */
  readonly parallelPerHost: number;
  /** Name lookup, TCP and TLS handshake together. */
  readonly connectTimeoutMs: number;
  /** Silence of the server: before the first byte of an answer, and between two pieces. */
  readonly readTimeoutMs: number;
  /** One request from its start to the last byte. */
  readonly totalTimeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
}

/** What applies where neither settings nor nydusd's configuration say anything. */
export const DEFAULT_FETCH_OPTIONS: FetchOptions = {
  parallelPerHost: 8,
  connectTimeoutMs: 5_000,
  readTimeoutMs: 30_000,
  totalTimeoutMs: 0,
  retries: 3,
};
