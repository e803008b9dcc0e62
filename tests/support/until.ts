/**
 * Polling, for what cannot be awaited: the end of a thread, what another process writes down.
 *
 * @module
 */

const TIMEOUT_MS = 60_000;

/**
 * Waits until `condition` holds.
 *
 * @param pollMs between two looks; longer where each look starts a process
 * @throws {Error} where it does not hold after a minute
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
