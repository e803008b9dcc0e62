/**
 * Inline extended attributes of RAFS v6.
 *
 * @module
 */
import { refuse, unreadable } from "../format/guard.ts";
import type { InodeCursor } from "./inode.ts";
import { NAME_MAX, XATTR } from "./layout.ts";

const WHAT = "RAFS v6 xattrs";

const encode = (text: string) => new TextEncoder().encode(text);

/** Prefixes by name index (linux fs/erofs/xattr.h). RAFS does not use 0 and 5 (lustre). */
export const XATTR_PREFIX: readonly (Uint8Array | undefined)[] = [
  undefined,
  encode("user."),
  encode("system.posix_acl_access"),
  encode("system.posix_acl_default"),
  encode("trusted."),
  undefined,
  encode("security."),
];

/** Whether a prefix is a complete name, so that its entries have no suffix. */
export function isWholeName(index: number): boolean {
  return index === 2 || index === 3;
}

/** Name and value of every attribute of the loaded inode. Loading the inode has checked the bounds of the area. */
export function readXattrs(
  bytes: Uint8Array,
  view: DataView,
  inode: InodeCursor,
): (readonly [Uint8Array, Uint8Array])[] {
  const pairs: (readonly [Uint8Array, Uint8Array])[] = [];
  if (inode.xattrSize === 0) return pairs;
  const start = inode.xattrAt;
  const end = start + inode.xattrSize;
  if (view.getUint8(start + XATTR.sharedCount) !== 0) {
    refuse(`${WHAT} at ${start}`, "shared attributes are not supported");
  }
  let at = start + XATTR.HEADER_SIZE;
  while (at < end) {
    const nameSize = view.getUint8(at + XATTR.nameSize);
    const index = view.getUint8(at + XATTR.nameIndex);
    const valueSize = view.getUint16(at + XATTR.valueSize, true);
    const prefix = XATTR_PREFIX[index] ?? unreadable(WHAT, at, `name prefix ${index} is unknown`);
    const nameAt = at + XATTR.ENTRY_SIZE;
    const valueAt = nameAt + nameSize;
    if (valueAt + valueSize > end) {
      unreadable(WHAT, at, `name and value end at ${valueAt + valueSize}, the area at ${end}`);
    }
    if ((nameSize === 0) !== isWholeName(index) || prefix.length + nameSize > NAME_MAX) {
      unreadable(WHAT, at, `name has ${nameSize} bytes behind prefix ${index}`);
    }
    const name = new Uint8Array(prefix.length + nameSize);
    name.set(prefix);
    name.set(bytes.subarray(nameAt, valueAt), prefix.length);
    if (name.includes(0)) unreadable(WHAT, at, "name contains NUL");
    pairs.push([name, bytes.subarray(valueAt, valueAt + valueSize)]);
    at = nameAt + Math.ceil((nameSize + valueSize) / XATTR.ENTRY_SIZE) * XATTR.ENTRY_SIZE;
  }
  return pairs;
}
