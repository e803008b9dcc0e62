/**
 * Loggers by category. Libraries only call {@link logger}; the composition root configures sinks and levels.
 *
 * A message is a short constant sentence, everything variable goes into properties:
 * `logger("layer").info("layer mounted", { layer, fsDriver, durationMs })`. Hot paths count, they do not log.
 *
 * @module
 */
import { getLogger, type Logger } from "@logtape/logtape";

/** The logger of one room, for example `logger("blob")` or `logger("mount", "fuse")`. */
export function logger(...category: string[]): Logger {
  return getLogger(["nydus-gd", ...category]);
}
