/**
 * The work of `nydus-gd umount`: unmounts what `nydus-gd mount` mounted; the process that served it ends by itself.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { mountAt } from "../../../ffi/mountinfo.ts";
import { umount2 } from "../../../ffi/sys_mount.ts";
import { NydusGdError } from "../../base/errors.ts";
import { FUSE_TYPE } from "../../mount/fuse/fuse_mount.ts";
import type { UmountArgs } from "../actions.ts";

/** Refuses what is not ours. */
export function umount({ dir }: UmountArgs): Promise<void> {
  const path = absolute(dir);
  const mounted = mountAt(path);
  if (mounted?.fsType !== FUSE_TYPE) {
    const state = mounted === undefined ? "nothing is mounted there" : `it is ${mounted.fsType}, not ours`;
    throw new NydusGdError("not-found", `Cannot unmount ${path}: ${state}`);
  }
  try {
    umount2(path, 0);
  } catch (error) {
    if (!isErrno(error, "EBUSY")) throw error;
    throw new NydusGdError("busy", `Cannot unmount ${path}: it is in use`, { hint: `fuser -vm ${path}`, cause: error });
  }
  return Promise.resolve();
}

/** Without links above it, but without touching the mount itself, whose server may be gone. */
function absolute(dir: string): string {
  const trimmed = dir.replace(/(?<=.)\/+$/, "");
  const slash = trimmed.lastIndexOf("/");
  const parent = Deno.realPathSync(slash < 0 ? "." : trimmed.slice(0, slash) || "/");
  const name = trimmed.slice(slash + 1);
  return parent === "/" ? `/${name}` : `${parent}/${name}`;
}
