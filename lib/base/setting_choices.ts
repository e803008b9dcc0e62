/**
 * The values between which users choose, in settings and on the command line. Loads nothing, so that `--help` is quick.
 *
 * @module
 */

/** Data paths by which images reach the kernel: lib/mount/choose.ts. */
export const DATA_PATHS = ["erofs-fanotify", "erofs-fuse", "erofs-fscache", "fuse"] as const;
/** A data path. */
export type FsDriver = (typeof DATA_PATHS)[number];

/** Choices of a data path; "auto" picks the first one that this machine supports. */
export const FS_DRIVERS = ["auto", ...DATA_PATHS] as const;
export type FsDriverName = (typeof FS_DRIVERS)[number];

/** Log levels from most to least verbose, with logtape's names. */
export const LOG_LEVELS = ["trace", "debug", "info", "warning", "error"] as const;
export type LogLevelName = (typeof LOG_LEVELS)[number];

/** "auto" is text on a terminal and JSON lines otherwise. */
export const LOG_FORMATS = ["auto", "text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
