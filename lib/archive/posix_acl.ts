/**
 * POSIX ACLs as values of `system.posix_acl_access` (linux/posix_acl_xattr.h, version 2, little endian).
 *
 * ```
 * u32 version  { u16 tag  u16 permissions  u32 id } …
 * ```
 *
 * @module
 */

/** Name of the attribute with the ACL that accesses are checked by. */
export const ACL_ACCESS = "system.posix_acl_access";

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;

/** Tags of the entries that are the file's mode. */
const TAG = { owner: 1, group: 4, mask: 16, other: 32 } as const;

/**
 * The ACL after chmod(2): unpacking sets the mode last, and the kernel then changes the ACL's entries of owner, mask
 * (without one, group) and others. One that is damaged stays as it is.
 */
export function aclOfMode(acl: Uint8Array, mode: number): Uint8Array {
  const out = acl.slice();
  const view = new DataView(out.buffer);
  if (out.length < HEADER_BYTES || out.length % ENTRY_BYTES !== HEADER_BYTES) return out;
  if (view.getUint32(0, true) !== VERSION) return out;
  const entries = Array.from({ length: (out.length - HEADER_BYTES) / ENTRY_BYTES }, (_, k) => {
    const at = HEADER_BYTES + k * ENTRY_BYTES;
    return { at, tag: view.getUint16(at, true) };
  });
  const groupTag = entries.some(({ tag }) => tag === TAG.mask) ? TAG.mask : TAG.group;
  for (const { at, tag } of entries) {
    if (tag === TAG.owner) view.setUint16(at + 2, mode >> 6 & 7, true);
    else if (tag === groupTag) view.setUint16(at + 2, mode >> 3 & 7, true);
    else if (tag === TAG.other) view.setUint16(at + 2, mode & 7, true);
  }
  return out;
}
