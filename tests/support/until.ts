/**
 * Polls for conditions that cannot be awaited, such as the end of a thread or the output of another process.
 *
 * @module
 */

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
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
