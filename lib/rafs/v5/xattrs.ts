/**
 * Extended attributes of RAFS v5: pairs of full name and value, each prefixed with its size.
 *
 * @module
 */
import { unreadable } from "../format/guard.ts";
import type { InodeCursor } from "./inode.ts";
import { NAME_MAX, XATTR_VALUE_MAX } from "./layout.ts";

const WHAT = "RAFS v5 xattrs";

/** Name and value of every attribute of the loaded record, as views. */
export function readXattrs(
  bytes: Uint8Array,
  view: DataView,
  inode: InodeCursor,
): (readonly [Uint8Array, Uint8Array])[] {
  const pairs: (readonly [Uint8Array, Uint8Array])[] = [];
  const size = inode.xattrSize;
  if (size === undefined) return pairs;
  const end = inode.xattrAt + 8 + size;
  for (let at = inode.xattrAt + 8; at < end;) {
    const pairSize = at + 4 <= end ? view.getUint32(at, true) : 0;
    const pairEnd = at + 4 + pairSize;
    if (pairSize === 0 || pairEnd > end) unreadable(WHAT, at, `a pair of ${pairSize} bytes does not fit before ${end}`);
    const pair = bytes.subarray(at + 4, pairEnd);
    const nul = pair.indexOf(0);
    if (nul < 1 || nul > NAME_MAX || pairSize - nul - 1 > XATTR_VALUE_MAX) {
      unreadable(WHAT, at, `name ends at ${nul} of a pair of ${pairSize} bytes`);
    }
    pairs.push([pair.subarray(0, nul), pair.subarray(nul + 1)]);
    at = pairEnd;
  }
  return pairs;
}
