/**
 * Ends a process that may have ended.
 *
 * @module
 */

/** Sends the signal unless the process has ended. */
export function endProcess(child: Deno.ChildProcess, signal: Deno.Signal = "SIGKILL"): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // it has ended already
  }
}
