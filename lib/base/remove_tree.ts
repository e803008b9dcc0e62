/**
 * Deletes a folder tree, never through a mount.
 *
 * @module
 */
import { isErrno } from "../../ffi/errno.ts";
import { mountsBelow } from "../../ffi/mountinfo.ts";
import { statKnown } from "../../ffi/sys_stat.ts";
import { NydusGdError } from "./errors.ts";

/**
 * Deletes `folder` recursively; a missing folder is no error. Symbolic links are deleted, not followed.
 *
 * @throws {NydusGdError} "busy" if something is mounted at or below it: nothing is deleted then
 */
export async function removeTree(folder: string): Promise<void> {
  if (isMissing(folder)) return;
  const [mount] = mountsBelow(folder);
  if (mount !== undefined) {
    throw new NydusGdError("busy", `Cannot delete "${folder}": ${mount.fsType} is mounted at "${mount.mountPoint}"`, {
      hint: `umount "${mount.mountPoint}"`,
    });
  }
  try {
    await Deno.remove(folder, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Asks no server of a file system that may be mounted there, and does not read the mount table. */
function isMissing(path: string): boolean {
  try {
    statKnown(path);
    return false;
  } catch (error) {
    return isErrno(error, "ENOENT"); // whatever else there is, the deletion reports
  }
}
