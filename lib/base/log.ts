/**
 * Loggers by category. Libraries only call {@link logger}; the composition root configures sinks and levels.
 *
 * A message is a short constant sentence; variable parts are properties: `logger("layer").info("layer mounted", {
 * layer, fsDriver, durationMs })`. Hot paths count instead of logging.
 *
 * @module
 */
import { getLogger, type Logger } from "@logtape/logtape";

/** Returns the logger of a category, for example `logger("blob")` or `logger("mount", "fuse")`. */
export function logger(...category: string[]): Logger {
  return getLogger(["nydus-gd", ...category]);
}
