/**
 * The state folder of a manual mount: its lock, its unpacked bootstrap, its log.
 *
 * The name of the folder is derived from the mount point, so that every command for it finds the folder. The server
 * holds the lock for its whole life; the folder is removed with the mount. A mount whose lock is free has lost its
 * server and can be taken over.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { isErrno } from "../../../ffi/errno.ts";
import { AT } from "../../../ffi/fcntl.ts";
import { unlinkat } from "../../../ffi/unistd.ts";
import { mountAt, type MountEntry, mountsBelow } from "../../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../../ffi/sys_mount.ts";
import { delay } from "../../base/abort.ts";
import { hasCode, ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import type { FileLock } from "../../base/file_lock.ts";
import { lockFile } from "../../base/server_lock.ts";
import { FanotifyImages } from "../../mount/fanotify/fanotify_images.ts";
import { EROFS_TYPE } from "../../mount/erofs/erofs_mount.ts";
import { FUSE_TYPE } from "../../mount/fuse/fuse_mount.ts";
import { FuseSession } from "../../mount/fuse/session.ts";

/** Contains one folder per mount. */
const MOUNTS_DIR = "/var/lib/nydus-gd/mounts";

/** Its lock, in the folder. */
const LOCK = "lock";

const POLL_MS = 20;

/** The locked folder of one mount. Disposing removes it. */
export class MountState implements AsyncDisposable {
  private constructor(
    readonly path: string,
    /** The mount point: an absolute path without symbolic links. */
    readonly dir: string,
    /** Whether a mount exists whose server has died. */
    readonly isMounted: boolean,
    private readonly lock: FileLock,
  ) {}

  /**
   * Creates and locks the folder of a mount on `dir`, or locks that of a mount whose server has died.
   *
   * @throws {NydusGdError} "not-found" if `dir` is not a folder, "busy" if an image is mounted there
   */
  static async take(dir: string): Promise<MountState> {
    const place = await placeOf(dir);
    const path = statePath(place);
    const isMounted = isOurs(place, mountAt(place));
    if (isMounted) {
      const lock = await ignore(Deno.errors.NotFound, Deno.stat(path)) && tryLock(path, place);
      if (lock === undefined) throw busy(place);
      return new MountState(path, place, isMounted, lock);
    }
    const info = await ignore(Deno.errors.NotFound, Deno.stat(place));
    if (!info?.isDirectory) {
      const [state, hint] = info === undefined
        ? ["there is no such folder", `mkdir -p ${place}`]
        : ["it is not a folder", "nydus-gd mount IMAGE DIR, where DIR is an existing folder"];
      throw new NydusGdError("not-found", `Cannot mount on ${place}: ${state}`, { hint });
    }
    await makeStateFolder(path);
    const lock = tryLock(path, place);
    if (lock === undefined) {
      throw held("mount on", place, "a server for it runs, with nothing mounted there yet or any more");
    }
    return new MountState(path, place, isMounted, lock);
  }

  /** Keeps the folder for as long as the mount exists. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!isOurs(this.dir, mountAt(this.dir))) await removeState(this.path);
    this.lock[Symbol.dispose]();
  }
}

/** Returns the state folder of a mount on `place`. */
export function statePath(place: string): string {
  return `${MOUNTS_DIR}/${createHash("sha256").update(place).digest("hex").slice(0, 16)}`;
}

/** Whether `entry` is a mount on `place` made by this program, whose source is in the state folder. */
export function isOurs(place: string, entry: MountEntry | undefined): boolean {
  if (entry === undefined) return false;
  return entry.fsType === FUSE_TYPE ||
    (entry.fsType === EROFS_TYPE && dirname(entry.source) === statePath(place));
}

/**
 * Returns the absolute path of `dir` without symbolic links. Does not access a mount there, whose server may be gone.
 *
 * @throws {NydusGdError} "not-found" if the parent folder is missing, "io" for an invalid path
 */
export async function placeOf(dir: string): Promise<string> {
  const trimmed = dir.replace(/(?<=.)\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  const above = slash < 0 ? "." : trimmed.slice(0, slash) || "/";
  const parent = await resolved(above, dir);
  if (parent === undefined) throw new NydusGdError("not-found", `Cannot find folder ${dir}: there is no ${above}`);
  const place = `${parent === "/" ? "" : parent}/${trimmed.slice(slash + 1)}`;
  if (mountAt(place) !== undefined) return place;
  return await resolved(place, dir) ?? place;
}

/** Resolves symbolic links; undefined if the path does not exist. */
async function resolved(path: string, dir: string): Promise<string | undefined> {
  try {
    return await ignore(Deno.errors.NotFound, Deno.realPath(path));
  } catch (error) {
    throw new NydusGdError("io", `Cannot find folder ${dir}: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether a process serves the manual mount on `place`; undefined if there is none. */
export async function isServed(place: string): Promise<boolean | undefined> {
  if (await ignore(Deno.errors.NotFound, Deno.stat(statePath(place))) === undefined) return undefined;
  using lock = tryLock(statePath(place), place);
  return lock === undefined;
}

/**
 * Waits until the server of `place` has exited, and removes the folder left by a killed one unless the mount still
 * exists.
 *
 * @throws {NydusGdError} "busy" if it still runs after `timeoutMs`
 */
export async function settleState(place: string, timeoutMs: number): Promise<void> {
  const path = statePath(place);
  for (let waitedMs = 0;; waitedMs += POLL_MS) {
    if (await ignore(Deno.errors.NotFound, Deno.stat(path)) === undefined) return;
    using lock = tryLock(path, place);
    if (lock !== undefined) {
      if (!isOurs(place, mountAt(place))) await removeState(path);
      return;
    }
    if (waitedMs >= timeoutMs) {
      throw held("finish unmount of", place, `its server still runs after ${timeoutMs} ms`);
    }
    await delay(POLL_MS);
  }
}

/** Creates the folder of a mount and its parents, which the end of another mount may remove concurrently. */
export async function makeStateFolder(path: string): Promise<void> {
  for (;;) {
    try {
      return await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Ends the mount's sessions and keepers, removes its folder, and removes the parent folders if they are empty. */
async function removeState(path: string): Promise<void> {
  await FuseSession.abandon(path);
  await FanotifyImages.abandon(path);
  for (const { mountPoint } of mountsBelow(path).reverse()) umount2(mountPoint, MNT.DETACH); // left by a killed server
  await removeFolder(path);
  try {
    for (const folder of [MOUNTS_DIR, dirname(MOUNTS_DIR)]) unlinkat(AT.FDCWD, folder, AT.REMOVEDIR);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST", "ENOENT", "EBUSY")) throw error;
  }
}

/**
 * Removes the folder of a mount, the lock last. The folder has another name by then: who looks for the lock makes one if
 * there is none, in a folder that could then not be removed.
 */
async function removeFolder(path: string): Promise<void> {
  for (const { name } of await ignore(Deno.errors.NotFound, Array.fromAsync(Deno.readDir(path))) ?? []) {
    if (name !== LOCK) await Deno.remove(`${path}/${name}`, { recursive: true });
  }
  const aside = `${path}.${Deno.pid}`;
  await ignore(Deno.errors.NotFound, Deno.rename(path, aside));
  await ignore(Deno.errors.NotFound, Deno.remove(aside, { recursive: true }));
}

/** Returns undefined while another process holds the lock, or if the folder has just been removed. */
function tryLock(path: string, place: string): FileLock | undefined {
  try {
    return lockFile(`${path}/${LOCK}`, `mount on "${place}"`);
  } catch (error) {
    if (hasCode(error, "busy") || isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** The mount is gone here. A mount namespace that was made meanwhile has a copy, which keeps the server. */
function held(doing: string, place: string, state: string): NydusGdError {
  return new NydusGdError("busy", `Cannot ${doing} ${place}: ${state}`, {
    hint: `grep -l " ${place} " /proc/[0-9]*/mountinfo: who has the mount in another namespace`,
  });
}

function busy(place: string): NydusGdError {
  return new NydusGdError("busy", `Cannot mount on ${place}: an image is mounted there`, {
    hint: `nydus-gd umount ${place}`,
  });
}
