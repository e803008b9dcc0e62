/**
 * Which data path serves images, and why.
 *
 * | data path | what it is | what it needs |
 * |---|---|---|
 * | erofs-fanotify | the kernel's EROFS on files of the cache | Linux 6.14, cache and state folder on ext4, xfs or btrfs |
 * | erofs-fuse | the kernel's EROFS on device files of our FUSE session | Linux 6.12, state folder on a disk |
 * | fuse | a file system in this program | /dev/fuse |
 *
 * "auto" takes the first that can be had. erofs-fanotify only under a strong guard (keeper/guard.ts): it shows zeros when
 * all who watch have died. A data path that is named is that one or an error.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../base/errors.ts";
import { ErofsTasks } from "./erofs/erofs_tasks.ts";
import { probeFanotify } from "./erofs/probe_fanotify.ts";
import { type Guard, guardOf } from "./keeper/guard.ts";

/** The data paths that this version has. */
export const DATA_PATHS = ["erofs-fanotify", "erofs-fuse", "fuse"] as const;

/** A data path. */
export type FsDriver = (typeof DATA_PATHS)[number];

/** A choice and its reason, for people. */
export interface DataPathChoice {
  readonly fsDriver: FsDriver;
  readonly reason: string;
  /** Whether it was asked for: then an image that it cannot take is an error. */
  readonly named: boolean;
  /** What somebody who asked for it should know. */
  readonly warning?: string;
}

/** Existing folders: the file systems that are looked at. */
export interface DataPathFolders {
  /** Where images for the kernel would be. */
  readonly stateDir: string;
  /** Where the cache is. */
  readonly cacheDir: string;
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
  const state = `this version has ${DATA_PATHS.join(", ")}`;
  throw new NydusGdError("unsupported", `Cannot use fs_driver ${wanted}: ${state}`, { hint: "--fs-driver auto" });
}

/** Whether a failed mount is a word on the image or the machine, which another data path may not mind; no defect. */
export function isRefusal(error: unknown): boolean {
  return error instanceof NydusGdError && error.code !== "internal" && error.code !== "interrupted";
}

/**
 * Chooses.
 *
 * @throws {NydusGdError} "unsupported", "environment" when the one that is named cannot be had
 */
export async function chooseDataPath(
  wanted: string,
  folders: DataPathFolders,
  guard: Guard = guardOf(),
): Promise<DataPathChoice> {
  const named = namedFsDriver(wanted);
  if (named === undefined) return await chooseBest(folders, guard);
  try {
    await probe(named, folders);
  } catch (error) {
    throw new NydusGdError("environment", `Cannot use fs_driver ${wanted}: ${messageOf(error)}`, {
      hint: "--fs-driver auto",
      cause: error,
    });
  }
  const choice = { fsDriver: named, reason: "asked for by name", named: true };
  if (named !== "erofs-fanotify" || guard.isStrong) return choice;
  const shown = "images show zeros for what is missing while this program and its keeper are both dead";
  return { ...choice, warning: `${shown}: ${guard.why}` };
}

async function chooseBest(folders: DataPathFolders, guard: Guard): Promise<DataPathChoice> {
  if (!guard.isStrong) return await chooseUnguarded(folders, guard.why);
  try {
    await probe("erofs-fanotify", folders);
    return { fsDriver: "erofs-fanotify", reason: guard.what, named: false };
  } catch (error) {
    return await chooseUnguarded(folders, messageOf(error));
  }
}

/** @param lack why erofs-fanotify is not taken */
async function chooseUnguarded(folders: DataPathFolders, lack: string): Promise<DataPathChoice> {
  const reason = `no erofs-fanotify: ${lack}`;
  try {
    await probe("erofs-fuse", folders);
    return { fsDriver: "erofs-fuse", reason, named: false };
  } catch (error) {
    return { fsDriver: "fuse", reason: `${reason}; no erofs-fuse: ${messageOf(error)}`, named: false };
  }
}

async function probe(fsDriver: FsDriver, { stateDir, cacheDir }: DataPathFolders): Promise<void> {
  if (fsDriver === "fuse") return;
  using tasks = new ErofsTasks();
  await tasks.probe(stateDir);
  if (fsDriver === "erofs-fanotify") await probeFanotify(tasks, stateDir, cacheDir);
}
