/**
 * Deletes a folder tree, never through a mount.
 *
 * @module
 */
import { NydusGdError } from "./errors.ts";
import { mountsBelow } from "../../ffi/mountinfo.ts";

/**
 * Deletes `folder` recursively; a missing folder is no error. Symbolic links are deleted, not followed.
 *
 * @throws {NydusGdError} "busy" if something is mounted at or below it: nothing is deleted then
 */
export async function removeTree(folder: string): Promise<void> {
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
