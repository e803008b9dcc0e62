/**
 * One server for a folder: a lock that goes with the process, however it ends.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { O, open } from "../../ffi/fcntl.ts";
import type { Fd } from "../../ffi/fd.ts";
import { flock, LOCK } from "../../ffi/sys_file.ts";
import { NydusGdError } from "../base/errors.ts";

/**
 * Takes the lock file `path`; closing the descriptor gives it back.
 *
 * @param what what is locked, for the message: `home "/var/lib/docker/nydus-gd"`
 * @throws {NydusGdError} "busy" while another process (or another store of this one) has it
 */
export function lockFile(path: string, what: string): Fd {
  const fd = open(path, O.RDWR | O.CREAT | O.NOFOLLOW, 0o600);
  try {
    flock(fd, LOCK.EX | LOCK.NB);
    return fd;
  } catch (error) {
    fd[Symbol.dispose]();
    if (!isErrno(error, "EAGAIN")) throw error;
    throw new NydusGdError("busy", `Cannot open ${what}: another nydus-gd serves it`, {
      hint: "stop the other one (systemctl stop nydus-gd), or give this one a --root of its own",
      cause: error,
    });
  }
}
