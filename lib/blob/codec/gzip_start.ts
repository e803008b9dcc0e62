/**
 * Inflates from the middle of a gzip layer, for images that refer to ordinary layers (ZRan).
 *
 * ```
 * layer   │ gzip header │ deflate … ▼ [bits|slice ……………] … │ trailer │ header │ deflate … │
 *                        window ◄───┘  starts within a byte        └─ end of a member: continue with the next
 * ```
 * nydus-image also has slices that begin at a trailer: zlib stops after the last block of a member as after any other.
 * They continue with the next member, too.
 *
 * Source: dragonflyoss/nydus storage/src/meta/zran.rs, utils/src/compress/zlib_random.rs; RFC 1952.
 *
 * @module
 */
import { Inflate } from "../../../ffi/libz.ts";
import type { GzipStarts } from "../../rafs/blob/chunk_table.ts";

/** CRC and length after the data of a member, in bytes. */
const TRAILER_SIZE = 8;

const HEADER_SIZE = 10;
const FLAG = { headerCrc: 2, extra: 4, name: 8, comment: 16 } as const;

const NOTHING = new Uint8Array(0);

/**
 * Inflates a slice of the layer into `plain`.
 *
 * @param row index into `starts`
 * @param slice the bytes after the one that holds the leading bits
 * @returns bytes written; fewer than `plain.length` if the slice ends early
 * @throws {Error} for malformed bytes
 */
export function inflateSlice(starts: GzipStarts, row: number, slice: Uint8Array, plain: Uint8Array): number {
  using inflate = Inflate.open();
  if (isMember(slice, TRAILER_SIZE)) {
    try {
      const written = inflateMembers(inflate, slice, TRAILER_SIZE, plain);
      if (written === plain.length) return written;
    } catch {
      // these bytes were part of a block: the slice is inflated from its first byte
    }
  }
  const from = starts.windowOffset[row] as number;
  const window = starts.windows.slice(from, from + (starts.windowSize[row] as number));
  inflate.begin(window, starts.bits[row] as number, starts.bitValue[row] as number);
  return inflateOn(inflate, slice, 0, plain);
}

function inflateMembers(inflate: Inflate, slice: Uint8Array, at: number, plain: Uint8Array): number {
  const data = memberData(slice, at);
  inflate.begin(NOTHING, 0, 0);
  return inflateOn(inflate, slice, data, plain);
}

/** Inflates what follows `at`, and the members after it. */
function inflateOn(inflate: Inflate, slice: Uint8Array, start: number, plain: Uint8Array): number {
  let at = start, filled = 0;
  for (;;) {
    const { read, written, ended } = inflate.run(slice.subarray(at), plain.subarray(filled));
    at += read;
    filled += written;
    if (filled === plain.length || !ended) return filled;
    at = memberData(slice, at + TRAILER_SIZE);
    inflate.begin(NOTHING, 0, 0);
  }
}

function isMember(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x1f && bytes[at + 1] === 0x8b && bytes[at + 2] === 8;
}

/** Returns the offset of the data of the gzip member at `at`. */
function memberData(bytes: Uint8Array, at: number): number {
  if (!isMember(bytes, at)) throw new Error("a gzip member is missing");
  const flags = bytes[at + 3] as number;
  let next = at + HEADER_SIZE;
  if ((flags & FLAG.extra) !== 0) next += 2 + ((bytes[next] ?? 0) | ((bytes[next + 1] ?? 0) << 8));
  for (const text of [FLAG.name, FLAG.comment]) {
    if ((flags & text) === 0) continue;
    const end = bytes.indexOf(0, next);
    if (end < 0) throw new Error("a gzip header is truncated");
    next = end + 1;
  }
  return (flags & FLAG.headerCrc) === 0 ? next : next + 2;
}
