/**
 * Implements `nydus-gd umount`: unmounts a `nydus-gd mount`, and waits until its server has exited.
 *
 * @module
 */
import { mountAt } from "../../../ffi/mountinfo.ts";
import { NydusGdError } from "../../base/errors.ts";
import { EROFS_TYPE } from "../../mount/erofs/erofs_mount.ts";
import { FUSE_TYPE } from "../../mount/fuse/fuse_mount.ts";
import { unmount } from "../../mount/unmount/unmount.ts";
import { isOurs, placeOf, settleState } from "../../image/mount/mount_state.ts";
import type { UmountArgs } from "../actions.ts";

/** How long the server may take to exit after the unmount. */
const END_TIMEOUT_MS = 15_000;

/** Unmounts `dir`. Refuses mounts not made by `nydus-gd mount`. */
export async function umount({ dir }: UmountArgs): Promise<void> {
  const place = await placeOf(dir);
  const mounted = mountAt(place);
  if (!isOurs(place, mounted)) {
    const state = mounted === undefined ? "nothing is mounted there" : `it is ${mounted.fsType}, not a nydus-gd mount`;
    throw new NydusGdError("not-found", `Cannot unmount ${place}: ${state}`, {
      hint: `findmnt -t ${FUSE_TYPE},${EROFS_TYPE}`,
    });
  }
  if (Deno.uid() !== 0) {
    throw new NydusGdError("environment", `Cannot unmount ${place}: it needs root`, {
      hint: `sudo nydus-gd umount ${place}`,
    });
  }
  await unmount(place, 0);
  await settleState(place, END_TIMEOUT_MS);
}
