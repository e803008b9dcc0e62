/**
 * Waiting for what nothing tells of: the end of a thread, what another process writes down.
 *
 * @module
 */

/** Waits until `condition` holds, looking every few milliseconds. @throws where it does not within `timeoutMs` */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(`Cannot wait until ${what}: it is not so after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
