/**
 * Polls for conditions that cannot be awaited, such as the end of a thread or the output of another process, and gives
 * the event loop a turn.
 *
 * @module
 */

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { delay } from "../../lib/base/abort.ts";

/**
 * Milliseconds after which what a test waits for does not come. Much longer than it takes on a busy machine, so that only
 * a hang takes as long.
 */
export const PATIENCE_MS = 180_000;

/**
 * Waits until `condition` holds.
 *
 * @param what the condition in words; a function also tells how things are when the wait is given up
 * @param pollMs interval, milliseconds; longer if each check starts a process
 * @throws {Error} if it does not hold within {@link PATIENCE_MS}
 */
export async function until(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  pollMs = 2,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!await condition()) {
    if (performance.now() > deadline) {
      const told = typeof what === "string" ? what : what();
      throw new Error(`Cannot wait until ${told}: it is not so after ${PATIENCE_MS} ms`);
    }
    await delay(pollMs);
  }
}

/**
 * Waits until `found` returns what is expected.
 *
 * ```ts
 * await untilEqual(() => fuseDescriptors(), before);
 * ```
 * @throws {AssertionError} with both if it does not within {@link PATIENCE_MS}
 */
export async function untilEqual<T>(found: () => T | Promise<T>, expected: T, pollMs = 2): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const actual = await found();
    if (isDeepStrictEqual(actual, expected)) return;
    if (performance.now() > deadline) assert.deepEqual(actual, expected);
    await delay(pollMs);
  }
}

/** Resolves when what is due in the event loop has run: timers of no delay, immediates, and what these have settled. */
export async function turn(): Promise<void> {
  await delay(0);
}
