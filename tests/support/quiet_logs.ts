/**
 * Keeps expected log messages out of a test's output.
 *
 * @module
 */
import { configure, type LogRecord, reset } from "@logtape/logtape";

/**
 * `await using _quiet = await quietLogs();` discards log records while it is in scope.
 *
 * @param warnings receives warnings and errors; without it none is kept: a fuzzer causes millions
 */
export async function quietLogs(warnings?: LogRecord[]): Promise<AsyncDisposable> {
  await configure({
    reset: true,
    sinks: { warnings: (record) => void warnings?.push(record) },
    loggers: [
      { category: ["nydus-gd"], sinks: ["warnings"], lowestLevel: "warning" },
      { category: ["logtape", "meta"], lowestLevel: "error" },
    ],
  });
  return { [Symbol.asyncDispose]: reset };
}
