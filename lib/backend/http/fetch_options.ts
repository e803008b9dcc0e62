/**
 * Limits of every transfer. Times in milliseconds, 0 for no limit.
 *
 * @module
 */
import type { Settings } from "../../base/settings.ts";

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

/** Attempts of a read that a silent server leaves time for, before the program that waits gets its error. */
const ATTEMPTS_BEFORE_DEADLINE = 4;

/** The limits that the settings ask for. */
export function fetchOptionsOf({ deadlineMs, ...limits }: Settings["fetch"]): FetchOptions {
  const readTimeoutMs = Math.min(limits.readTimeoutMs, Math.ceil(deadlineMs / ATTEMPTS_BEFORE_DEADLINE));
  return { ...DEFAULT_FETCH_OPTIONS, ...limits, readTimeoutMs };
}
