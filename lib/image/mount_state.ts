/**
 * The state folder of a mount that was made by hand: its lock, its unpacked bootstrap, its log.
 *
 * The folder's name is a function of the place of the mount, so that whoever mounts or unmounts there finds it. The lock
 * is held as long as the server lives; the folder goes with the mount. A mount whose lock is free has lost its server:
 * another may take it over.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { isErrno } from "../../ffi/errno.ts";
import { AT } from "../../ffi/fcntl.ts";
import { unlinkat } from "../../ffi/unistd.ts";
import { mountAt, type MountEntry, mountsBelow } from "../../ffi/mountinfo.ts";
import { MNT, umount2 } from "../../ffi/sys_mount.ts";
import type { Fd } from "../../ffi/fd.ts";
import { hasCode, ignore, messageOf, NydusGdError } from "../base/errors.ts";
import { lockFile } from "../layer/home_lock.ts";
import { FanotifyImages } from "../mount/erofs/erofs_fanotify.ts";
import { EROFS_TYPE } from "../mount/erofs/erofs_mount.ts";
import { FUSE_TYPE } from "../mount/fuse/fuse_mount.ts";
import { FuseSession } from "../mount/fuse/session.ts";

/** Below this, a folder for each mount. */
const MOUNTS_DIR = "/var/lib/nydus-gd/mounts";

const POLL_MS = 20;

/** The folder of one mount, locked. Disposing removes it. */
export class MountState implements AsyncDisposable {
  private constructor(
    readonly path: string,
    /** The place of the mount, absolute, without links. */
    readonly dir: string,
    /** A mount is there whose server has died. */
    readonly isMounted: boolean,
    private readonly lock: Fd,
  ) {}

  /**
   * Makes and locks the folder of a mount on `dir`, or locks that of a mount whose server has died.
   *
   * @throws {NydusGdError} "not-found" when `dir` is no folder, "busy" when an image is mounted there
   */
  static async take(dir: string): Promise<MountState> {
    const place = await placeOf(dir);
    const path = statePath(place);
    if (isOurs(place, mountAt(place))) {
      const lock = await ignore(Deno.errors.NotFound, Deno.stat(path)) && tryLock(path, place);
      if (lock === undefined) throw busy(place);
      return new MountState(path, place, true, lock);
    }
    const info = await ignore(Deno.errors.NotFound, Deno.stat(place));
    if (!info?.isDirectory) {
      const [state, hint] = info === undefined
        ? ["there is no such folder", `mkdir -p ${place}`]
        : ["it is not a folder", "name an existing folder"];
      throw new NydusGdError("not-found", `Cannot mount on ${place}: ${state}`, { hint });
    }
    await makeStateFolder(path);
    const lock = tryLock(path, place);
    if (lock === undefined) throw busy(place);
    return new MountState(path, place, false, lock);
  }

  /** The folder goes with the mount: as long as that is there, both stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!isOurs(this.dir, mountAt(this.dir))) await removeState(this.path);
    this.lock[Symbol.dispose]();
  }
}

/** The state folder of a mount on `place`. */
export function statePath(place: string): string {
  return `${MOUNTS_DIR}/${createHash("sha256").update(place).digest("hex").slice(0, 16)}`;
}

/** Whether `entry` is a mount on `place` that was made here: what it was made from is in the state folder. */
export function isOurs(place: string, entry: MountEntry | undefined): boolean {
  if (entry === undefined) return false;
  return entry.fsType === FUSE_TYPE ||
    (entry.fsType === EROFS_TYPE && dirname(entry.source) === statePath(place));
}

/**
 * The absolute path of `dir` without links. A mount there is not touched: its server may be gone.
 *
 * @throws {NydusGdError} "not-found" when the folder above it is missing, "io" for a path that cannot be
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

/** Without links; undefined where it is not there. */
async function resolved(path: string, dir: string): Promise<string | undefined> {
  try {
    return await ignore(Deno.errors.NotFound, Deno.realPath(path));
  } catch (error) {
    throw new NydusGdError("io", `Cannot find folder ${dir}: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether a process serves what was mounted by hand on `place`; undefined where nothing was. */
export async function isServed(place: string): Promise<boolean | undefined> {
  if (await ignore(Deno.errors.NotFound, Deno.stat(statePath(place))) === undefined) return undefined;
  using lock = tryLock(statePath(place), place);
  return lock === undefined;
}

/**
 * Waits until the server of `place` has ended, and removes what one that was killed left, unless it left the mount.
 *
 * @throws {NydusGdError} "busy" when it still runs after `timeoutMs`
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
      throw new NydusGdError("busy", `Cannot finish unmount of ${place}: its server still runs after ${timeoutMs} ms`, {
        hint: `see ${path}`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Makes the folder of a mount and those above it, which the end of another mount may be removing at the same time. */
export async function makeStateFolder(path: string): Promise<void> {
  for (;;) {
    try {
      return await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Removes the folder of a mount, with what still holds its session, and those above it when it was the last of what is in them. */
async function removeState(path: string): Promise<void> {
  await FuseSession.abandon(path);
  await FanotifyImages.abandon(path);
  for (const { mountPoint } of mountsBelow(path).reverse()) umount2(mountPoint, MNT.DETACH); // of a server that was killed
  await ignore(Deno.errors.NotFound, Deno.remove(path, { recursive: true }));
  try {
    for (const folder of [MOUNTS_DIR, dirname(MOUNTS_DIR)]) unlinkat(AT.FDCWD, folder, AT.REMOVEDIR);
  } catch (error) {
    if (!isErrno(error, "ENOTEMPTY", "EEXIST", "ENOENT", "EBUSY")) throw error;
  }
}

/** Undefined while another process has it, and when the folder has just gone with it. */
function tryLock(path: string, place: string): Fd | undefined {
  try {
    return lockFile(`${path}/lock`, `mount on "${place}"`);
  } catch (error) {
    if (hasCode(error, "busy") || isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function busy(place: string): NydusGdError {
  return new NydusGdError("busy", `Cannot mount on ${place}: an image is mounted there`, {
    hint: `nydus-gd umount ${place}`,
  });
}
