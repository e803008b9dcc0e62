/**
 * Which data path serves an image, and why.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";

/** The data paths that this version has, best first: what "auto" chooses from. */
const AVAILABLE = ["fuse"] as const;

/** A data path. */
export type FsDriver = (typeof AVAILABLE)[number];

/** A choice and its reason, for people. */
export interface DataPathChoice {
  readonly fsDriver: FsDriver;
  readonly reason: string;
}

/** As {@link chooseFsDriver}, with the reason. */
export function explainFsDriver(wanted: string): DataPathChoice {
  const fsDriver = chooseFsDriver(wanted);
  return { fsDriver, reason: wanted === "auto" ? "the one data path of this version" : "asked for by name" };
}

/** "auto" takes the best there is; a data path that is named is that one or an error. */
export function chooseFsDriver(wanted: string): FsDriver {
  if (wanted === "auto") return AVAILABLE[0];
  const driver = AVAILABLE.find((name) => name === wanted);
  if (driver !== undefined) return driver;
  throw new NydusGdError("unsupported", `Cannot use fs_driver ${wanted}: this version serves images by fuse only`, {
    hint: "--fs-driver fuse",
  });
}
