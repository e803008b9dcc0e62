/**
 * The data paths by which images reach the kernel; choose.ts says what each needs.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import { DATA_PATHS, type FsDriver } from "../base/setting_choices.ts";

export { DATA_PATHS, type FsDriver } from "../base/setting_choices.ts";

/** The chosen data path, and why. */
export interface DataPathChoice {
  readonly fsDriver: FsDriver;
  readonly reason: string;
  /** Whether it was requested by name: then an image that it cannot serve is an error. */
  readonly named: boolean;
  /** A risk of a data path that was requested by name. */
  readonly warning?: string;
}

/**
 * The data path requested by name, whether or not it works on this machine; undefined for "auto".
 *
 * @throws {NydusGdError} "unsupported" for a name that this version does not have
 */
export function namedFsDriver(wanted: string): FsDriver | undefined {
  if (wanted === "auto") return undefined;
  const driver = DATA_PATHS.find((name) => name === wanted);
  if (driver !== undefined) return driver;
  const state = `this version supports ${DATA_PATHS.join(", ")}`;
  throw new NydusGdError("unsupported", `Cannot use fs_driver ${wanted}: ${state}`, { hint: "--fs-driver auto" });
}

/** Whether a mount failed because of the image or the machine, so that another data path may succeed. */
export function isRefusal(error: unknown): boolean {
  return error instanceof NydusGdError && error.code !== "internal" && error.code !== "interrupted";
}
