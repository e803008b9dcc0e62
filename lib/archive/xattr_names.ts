/**
 * Names of extended attributes that an image can have.
 *
 * Linux stores `user.*`, `trusted.*`, `security.*` and two POSIX ACLs. Archives have others, too (`com.apple.*`,
 * `system.nfs4_acl`, `btrfs.compression`); no file system takes them when a layer is unpacked. `trusted.overlay.*` is
 * left out because overlayfs would interpret it.
 *
 * @module
 */
import type { ByteString } from "../base/bytes.ts";
import { OVERLAY_XATTR_PREFIX } from "./whiteout.ts";

const STORED = /^(?:user\.|trusted\.|security\.|system\.posix_acl_(?:access|default)$)/;

/** Whether files of an image have attributes of this name. */
export function isImageXattr(name: ByteString): boolean {
  return STORED.test(name) && !name.startsWith(OVERLAY_XATTR_PREFIX);
}
