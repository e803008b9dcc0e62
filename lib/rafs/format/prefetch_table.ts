/**
 * The prefetch table of both versions: 32-bit numbers of inodes, to the end of the table or to a 0.
 *
 * @module
 */
import { type Region, unreadable } from "./guard.ts";

/**
 * Returns the numbers in the order of the table.
 *
 * @param most as many inodes as the image can have
 * @param what for error messages: "RAFS v5 prefetch table"
 * @throws {RafsError} "invalid-image" for a longer list
 */
export function readPrefetchTable(view: DataView, { at, size }: Region, most: number, what: string): number[] {
  const inos: number[] = [];
  for (let entry = at; entry < at + size; entry += 4) {
    const ino = view.getUint32(entry, true);
    if (ino === 0) break;
    if (inos.length === most) unreadable(what, at, `it has more entries than the ${most} possible inodes`);
    inos.push(ino);
  }
  return inos;
}
