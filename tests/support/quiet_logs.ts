/**
 * Logs of what a test provokes, kept out of its output.
 *
 * @module
 */
import { configure, type LogRecord, reset } from "@logtape/logtape";

/**
 * `await using _quiet = await quietLogs();` drops what is logged as long as it is in scope.
 *
 * @param warnings gets what is logged of warnings and errors
 */
export async function quietLogs(warnings: LogRecord[] = []): Promise<AsyncDisposable> {
  await configure({
    reset: true,
    sinks: { warnings: (record) => void warnings.push(record) },
    loggers: [
      { category: ["nydus-gd"], sinks: ["warnings"], lowestLevel: "warning" },
      { category: ["logtape", "meta"], lowestLevel: "error" },
    ],
  });
  return { [Symbol.asyncDispose]: reset };
}
