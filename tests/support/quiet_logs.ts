/**
 * Logs of what a test provokes, kept out of its output.
 *
 * @module
 */
import { configure, reset } from "@logtape/logtape";

/** `await using _quiet = await quietLogs();` drops what is logged as long as it is in scope. */
export async function quietLogs(): Promise<AsyncDisposable> {
  await configure({
    reset: true,
    sinks: {},
    loggers: [{ category: ["nydus-gd"], sinks: [] }, { category: ["logtape", "meta"], lowestLevel: "error" }],
  });
  return { [Symbol.asyncDispose]: reset };
}
