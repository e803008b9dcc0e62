/**
 * Unmounts of file systems whose requests this process may have to answer meanwhile.
 *
 * @module
 */
import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { NydusGdError } from "../../base/errors.ts";
import { askWorker, startWorker, workerUrl } from "../../base/worker.ts";
import type { UnmountRequest, UnmountResult } from "./unmount_worker.ts";

/**
 * Unmounts without blocking this thread. Nothing mounted at `target`, or no such path, is not an error.
 *
 * @param flags MNT_* of ffi/sys_mount.ts
 * @throws {NydusGdError} "busy", "io"
 */
export async function unmount(target: string, flags: number): Promise<void> {
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
