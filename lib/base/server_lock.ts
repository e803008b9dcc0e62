/**
 * The lock of the one server that may use a folder: a file in it. It ends with the process, however that ends.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { isErrno } from "../../ffi/errno.ts";
import { hasCode, NydusGdError } from "./errors.ts";
import { FileLock } from "./file_lock.ts";

/** How long a lock may outlive its process; see {@link lockFileSoon}. */
const OUTLIVE_TIMEOUT_MS = 2_000;
const POLL_MS = 5;

/**
 * Takes the lock file `path` until disposed.
 *
 * @param what subject of the lock, for messages: `home "/var/lib/docker/nydus-gd"`
 * @throws {NydusGdError} "busy" while another process (or another store of this one) holds it
 */
export function lockFile(path: string, what: string): FileLock {
  try {
    return FileLock.take(path);
  } catch (error) {
    if (!isErrno(error, "EAGAIN")) throw error;
    throw new NydusGdError("busy", `Cannot open ${what}: another nydus-gd uses it`, {
      hint: "stop the other one (systemctl stop nydus-gd), or give this one a --root of its own",
      cause: error,
    });
  }
}

/**
 * Like {@link lockFile}, but waits for the lock of a predecessor that was killed: a program that it was about to start
 * has inherited the lock's descriptor until its exec.
 *
 * @throws {NydusGdError} as {@link lockFile}, after {@link OUTLIVE_TIMEOUT_MS}
 */
export async function lockFileSoon(path: string, what: string): Promise<FileLock> {
  for (const end = performance.now() + OUTLIVE_TIMEOUT_MS;;) {
    try {
      return lockFile(path, what);
    } catch (error) {
      if (!hasCode(error, "busy") || performance.now() > end) throw error;
    }
    await delay(POLL_MS);
  }
}
