/**
 * Polls for conditions that cannot be awaited, such as the end of a thread or the output of another process, and gives
 * the event loop a turn.
 *
 * @module
 */

import { delay } from "../../lib/base/abort.ts";

const TIMEOUT_MS = 60_000;

/**
 * Waits until `condition` holds.
 *
 * @param pollMs interval, milliseconds; longer if each check starts a process
 * @throws {Error} if it does not hold within {@link TIMEOUT_MS}
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  pollMs = 2,
): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`Cannot wait until ${what}: it is not so after ${TIMEOUT_MS} ms`);
    await delay(pollMs);
  }
}

/** Resolves when what is due in the event loop has run: timers of no delay, immediates, and what these have settled. */
export async function turn(): Promise<void> {
  await delay(0);
}
