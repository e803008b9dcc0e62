/**
 * Which data path serves images, and why.
 *
 * | data path | what it is | what it needs |
 * |---|---|---|
 * | erofs-fuse | the kernel's EROFS on device files of our FUSE session | Linux 6.12, state folder on a disk |
 * | fuse | a file system in this program | /dev/fuse |
 *
 * "auto" is fuse until the takeover of erofs-fuse has been stress-tested. A data path that is named is that one or an
 * error.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../base/errors.ts";
import { ErofsTasks } from "./erofs/erofs_tasks.ts";

/** The data paths that this version has. */
export const DATA_PATHS = ["erofs-fuse", "fuse"] as const;

/** A data path. */
export type FsDriver = (typeof DATA_PATHS)[number];

/** A choice and its reason, for people. */
export interface DataPathChoice {
  readonly fsDriver: FsDriver;
  readonly reason: string;
  /** Whether it was asked for: then an image that it cannot take is an error. */
  readonly named: boolean;
}

/**
 * The data path that was asked for, without a look at whether it can be had; undefined for "auto".
 *
 * @throws {NydusGdError} "unsupported" for one that this version does not have
 */
export function namedFsDriver(wanted: string): FsDriver | undefined {
  if (wanted === "auto") return undefined;
  const driver = DATA_PATHS.find((name) => name === wanted);
  if (driver !== undefined) return driver;
  const state = `this version has ${DATA_PATHS.join(" and ")}`;
  throw new NydusGdError("unsupported", `Cannot use fs_driver ${wanted}: ${state}`, { hint: "--fs-driver auto" });
}

/** Whether a failed mount is a word on the image or the machine, which another data path may not mind; no defect. */
export function isRefusal(error: unknown): boolean {
  return error instanceof NydusGdError && error.code !== "internal" && error.code !== "interrupted";
}

/**
 * Chooses.
 *
 * @param stateDir an existing folder, on whose file system images for the kernel would be
 * @throws {NydusGdError} "unsupported", "environment" when the one that is named cannot be had
 */
export async function chooseDataPath(wanted: string, stateDir: string): Promise<DataPathChoice> {
  const named = namedFsDriver(wanted);
  if (named === undefined) return { fsDriver: "fuse", reason: "what auto takes in this version", named: false };
  if (named === "erofs-fuse") {
    try {
      using tasks = new ErofsTasks();
      await tasks.probe(stateDir);
    } catch (error) {
      throw new NydusGdError("environment", `Cannot use fs_driver ${wanted}: ${messageOf(error)}`, {
        hint: "--fs-driver auto",
        cause: error,
      });
    }
  }
  return { fsDriver: named, reason: "asked for by name", named: true };
}
