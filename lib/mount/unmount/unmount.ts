/**
 * Unmounts of file systems whose reads this process may have to answer.
 *
 * The last user of a file system releases it, and first waits for every read in flight; nobody can end this wait. A
 * process that made the unmount itself and were killed meanwhile would keep all its descriptors until then, those by
 * which the reads are answered among them: the wait would never end, and no service manager would see the process end.
 * So another process makes it, umount(8), which holds none of our descriptors.
 *
 * @module
 */
import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { mountIdAt } from "../../../ffi/mountinfo.ts";
import { MNT } from "../../../ffi/sys_mount.ts";
import { atMost } from "../../base/abort.ts";
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { askWorker, startWorker, workerUrl } from "../../base/worker.ts";
import type { UnmountRequest, UnmountResult } from "./unmount_worker.ts";

const log = logger("mount");

const NO_PIPES = { stdin: "null", stdout: "null", stderr: "null" } as const;
/** Neither helpers nor records of the mount, and no access to the mounted file system, whose server may be gone. */
const ALWAYS = ["--internal-only", "--no-mtab", "--no-canonicalize"] as const;
const FLAGS = [[MNT.DETACH, "--lazy"], [MNT.FORCE, "--force"]] as const;

/** How long the kernel may take to release a file system for which nothing is read. */
const RELEASE_MS = 1000;

/**
 * Unmounts without blocking this thread. Resolves when nothing leads to the mount any more; what the kernel still waits
 * for may delay its release further. Nothing mounted at `target`, or no such path, is not an error.
 *
 * @param flags {@link MNT.DETACH}, {@link MNT.FORCE}
 * @throws {NydusGdError} "busy", "io"
 */
export async function unmount(target: string, flags: number): Promise<void> {
  const mountId = mountIdAt(target);
  if (mountId === undefined || !await unmountByProgram(target, mountId, flags)) await unmountByThread(target, flags);
}

/** False if it has failed, for whatever reason. */
async function unmountByProgram(mountPoint: string, mountId: number, flags: number): Promise<boolean> {
  const words = FLAGS.flatMap(([flag, word]) => (flags & flag) === 0 ? [] : [word]);
  const args = [...ALWAYS, ...words, "--", mountPoint];
  try {
    const program = new Deno.Command("umount", { args, cwd: "/", ...NO_PIPES }).spawn();
    for (;;) {
      const status = await atMost(RELEASE_MS, program.status);
      if (status !== undefined) return status.success;
      if (mountIdAt(mountPoint) === mountId) continue;
      program.unref();
      return true;
    }
  } catch (error) {
    log.warn("umount(8) cannot be started", { mountPoint, reason: messageOf(error) });
    return false;
  }
}

/** For its errno, and where there is no umount(8). */
async function unmountByThread(target: string, flags: number): Promise<void> {
  const worker = startWorker(workerUrl(import.meta, "unmount_worker.ts"), "unmount");
  try {
    const request: UnmountRequest = { target, flags };
    const { errno } = await askWorker<UnmountResult>(worker, request, `Cannot unmount ${target}`);
    if (errno === 0 || errno === ERRNO.EINVAL || errno === ERRNO.ENOENT) return;
    const cause = new SyscallError("umount", errno, target);
    if (errno === ERRNO.EBUSY) {
      throw new NydusGdError("busy", `Cannot unmount ${target}: it is in use`, { cause, hint: `fuser -vm ${target}` });
    }
    throw new NydusGdError("io", cause.message, { cause });
  } finally {
    worker.terminate();
  }
}
