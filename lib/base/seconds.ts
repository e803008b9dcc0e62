/**
 * Seconds since 1970 as file systems and archives have them: 64 bits, signed.
 *
 * A number holds all that occur in practice; beyond ±(2^53 - 1), where it is not exact, a bigint does.
 *
 * @module
 */

/** A number up to ±(2^53 - 1), a bigint beyond: exact, and equal times are `===`. */
export type Seconds = number | bigint;

const MOST = 2n ** 63n - 1n;

/** Returns the seconds; undefined beyond 64 bits. */
export function secondsOf(value: bigint): Seconds | undefined {
  if (value > MOST || value < -MOST - 1n) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Whether a value is what {@link secondsOf} returns. */
export function isSeconds(value: Seconds): boolean {
  return typeof value === "number" ? Number.isSafeInteger(value) : typeof secondsOf(value) === "bigint";
}
