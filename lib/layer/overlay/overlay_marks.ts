/**
 * How a layer on disk says what it hides of the layers below: whiteouts, and marks of opaque folders.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { type Fd, pathBelow, procFdPath } from "../../../ffi/fd.ts";
import { major, minor, type Stat } from "../../../ffi/sys_stat.ts";
import { getxattr, lgetxattr, lsetxattr } from "../../../ffi/sys_xattr.ts";
import { isOverlayWhiteout, OVERLAY_OPAQUE, OVERLAY_OPAQUE_VALUE } from "../../archive/whiteout.ts";
import { equalBytes } from "../../base/bytes.ts";

/** Whether a file is a whiteout. */
export function isWhiteout({ mode, rdev }: Stat): boolean {
  return isOverlayWhiteout(mode, major(rdev), minor(rdev));
}

/** Whether a folder hides its contents in lower layers. */
export function hasOpaqueMark(folder: string | Fd): boolean {
  const path = typeof folder === "string" ? folder : procFdPath(folder);
  return isOpaque(() => getxattr(path, OVERLAY_OPAQUE));
}

/** The same for the folder `name` in another one; false if it has vanished. */
export function hasOpaqueMarkIn(parent: Fd, name: Uint8Array): boolean {
  return isOpaque(() => lgetxattr(pathBelow(parent, name), OVERLAY_OPAQUE));
}

/** Makes the folder `name` in another one hide its contents in lower layers. */
export function setOpaqueMark(parent: Fd, name: Uint8Array): void {
  lsetxattr(pathBelow(parent, name), OVERLAY_OPAQUE, OVERLAY_OPAQUE_VALUE);
}

function isOpaque(read: () => Uint8Array): boolean {
  try {
    return equalBytes(read(), OVERLAY_OPAQUE_VALUE);
  } catch (error) {
    if (isErrno(error, "ENODATA", "EOPNOTSUPP", "ENOENT")) return false;
    throw error;
  }
}
