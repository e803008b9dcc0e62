/**
 * Encodes extended attributes as they follow a v6 inode.
 *
 * @module
 */
import { RafsError } from "../bootstrap.ts";
import { compareBytes } from "../../base/bytes.ts";
import { NAME_MAX, XATTR } from "./layout.ts";
import { isWholeName, XATTR_PREFIX } from "./xattrs.ts";

const NOTHING = new Uint8Array(0);
/** Maximum bytes of an xattr area: i_xattr_icount is a u16. */
const MAX_AREA = XATTR.HEADER_SIZE + XATTR.ENTRY_SIZE * 0xfffe;

/** Index of the prefix of `name`, -1 for a name that the format cannot represent. */
function prefixIndex(name: Uint8Array): number {
  return XATTR_PREFIX.findIndex((prefix, index) =>
    prefix !== undefined && prefix.every((byte, i) => name[i] === byte) &&
    (isWholeName(index) ? name.length === prefix.length : name.length > prefix.length)
  );
}

/**
 * Encodes the xattr area of an inode, sorted by name; empty without attributes.
 *
 * @throws {RafsError} "unsupported" for names and sizes that the format cannot represent
 */
export function encodeXattrs(xattrs: readonly (readonly [name: Uint8Array, value: Uint8Array])[]): Uint8Array {
  if (xattrs.length === 0) return NOTHING;
  const entries = [...xattrs].sort(([a], [b]) => compareBytes(a, b)).map(([name, value]) => {
    const index = prefixIndex(name);
    const suffix = name.subarray(XATTR_PREFIX[index]?.length ?? 0);
    if (index < 1 || name.length > NAME_MAX || value.length > 0xffff || name.includes(0)) {
      const shown = JSON.stringify(new TextDecoder().decode(name));
      throw new RafsError(
        `Cannot write RAFS v6 xattr ${shown}: its name or value of ${value.length} bytes is not supported`,
        "unsupported",
      );
    }
    const size = Math.ceil((XATTR.ENTRY_SIZE + suffix.length + value.length) / XATTR.ENTRY_SIZE) * XATTR.ENTRY_SIZE;
    return { index, suffix, value, size };
  });
  const size = entries.reduce((sum, entry) => sum + entry.size, XATTR.HEADER_SIZE as number);
  if (size > MAX_AREA) throw new RafsError(`Cannot write RAFS v6 xattrs: ${size} bytes on one inode`, "unsupported");
  const area = new Uint8Array(size);
  const view = new DataView(area.buffer);
  let at: number = XATTR.HEADER_SIZE;
  for (const { index, suffix, value, size } of entries) {
    area[at + XATTR.nameSize] = suffix.length;
    area[at + XATTR.nameIndex] = index;
    view.setUint16(at + XATTR.valueSize, value.length, true);
    area.set(suffix, at + XATTR.ENTRY_SIZE);
    area.set(value, at + XATTR.ENTRY_SIZE + suffix.length);
    at += size;
  }
  return area;
}
