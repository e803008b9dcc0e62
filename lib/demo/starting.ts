/**
 * Waits for a program that does not tell when it can be used, and finds what it said if it cannot.
 *
 * @module
 */
import { delay, joined } from "../base/abort.ts";

/** Longest time from its start until a program can be used; a busy machine takes seconds. */
const START_TIMEOUT_MS = 60_000;
/** Interval between looks. */
const POLL_MS = 50;

/**
 * Waits until `look` finds that a program can be used.
 *
 * @param look gets the signal of the time limit, and of the caller
 * @returns what it finds; undefined if the program ended, takes too long, or is not wanted any more
 */
export async function whenUsable<T>(
  program: Pick<Deno.ChildProcess, "status">,
  look: (signal: AbortSignal) => Promise<T | undefined>,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const over = joined(AbortSignal.timeout(START_TIMEOUT_MS), signal);
  let ended = false;
  program.status.then(() => ended = true);
  for (;;) {
    const found = await look(over);
    if (found !== undefined || ended || over.aborted) return found;
    await delay(POLL_MS);
  }
}

/** The last line of a log that starts so, or else the last one. */
export async function lastLine(logPath: string, start = ""): Promise<string> {
  const lines = (await Deno.readTextFile(logPath)).trim().split("\n");
  return (lines.findLast((line) => line.startsWith(start)) ?? lines.at(-1)) || "it printed nothing";
}
