/**
 * Encodes extended attributes as they follow a v5 inode.
 *
 * @module
 */
import { compareBytes, roundUp, writeU64 } from "../../base/bytes.ts";
import { UNIT } from "./layout.ts";

/** Encodes the padded xattr table of an inode, sorted by name; empty without attributes. */
export function encodeXattrs(xattrs: readonly (readonly [name: Uint8Array, value: Uint8Array])[]): Uint8Array {
  if (xattrs.length === 0) return new Uint8Array(0);
  const size = xattrs.reduce((sum, [name, value]) => sum + 4 + name.length + 1 + value.length, 0);
  const table = new Uint8Array(UNIT + roundUp(size, UNIT));
  const view = new DataView(table.buffer);
  writeU64(view, 0, size);
  let at = UNIT;
  for (const [name, value] of [...xattrs].sort(([a], [b]) => compareBytes(a, b))) {
    view.setUint32(at, name.length + 1 + value.length, true);
    table.set(name, at + 4);
    table.set(value, at + 4 + name.length + 1);
    at += 4 + name.length + 1 + value.length;
  }
  return table;
}
