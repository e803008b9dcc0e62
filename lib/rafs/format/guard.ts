/**
 * Guarded reads: numbers and ranges from an image, checked before use.
 *
 * Failures throw a {@link RafsError} that names the structure and its offset. Callers check once with
 * {@link checkRange} that a structure lies inside the image and then read its fields with plain DataView calls.
 *
 * @module
 */
import { readU32 } from "../../base/bytes.ts";
import type { Seconds } from "../../base/seconds.ts";
import { RafsError } from "./rafs_error.ts";

/** DataView over exactly the given bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Formats a u32 as `0x0badf00d`. */
export function hex32(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}

/** Fails with `Cannot read <what> at <at>: <state>`. */
export function unreadable(what: string, at: number, state: string): never {
  throw new RafsError(`Cannot read ${what} at ${at}: ${state}`);
}

/** Fails with code "unsupported": the image is recognized but refused. */
export function refuse(what: string, state: string): never {
  throw new RafsError(`Cannot read ${what}: ${state}`, "unsupported");
}

/** Fails unless `[at, at + size)` lies inside `length` bytes. */
export function checkRange(at: number, size: number, length: number, what: string): void {
  if (!(at >= 0 && size >= 0 && at + size <= length)) {
    unreadable(what, at, `${size} bytes reach beyond the end of the image at ${length}`);
  }
}

/** Reads a u64 of at most 2^53-1. The caller has checked the range. */
export function readU64(view: DataView, at: number, what: string): number {
  const value = readU32(view, at) + readU32(view, at + 4) * 0x1_0000_0000;
  if (value > Number.MAX_SAFE_INTEGER) unreadable(what, at, "value exceeds 2^53-1");
  return value;
}

/** Reads an i64, two's complement. The caller has checked the range. */
export function readSeconds(view: DataView, at: number): Seconds {
  const value = readU32(view, at) + view.getInt32(at + 4, true) * 0x1_0000_0000;
  return Number.isSafeInteger(value) ? value : view.getBigInt64(at, true);
}

/** Throws RangeError on an invalid request, which is a bug of the caller and not damage of the image. */
export function checkRequest(offset: number, length: number): void {
  if (!(Number.isSafeInteger(offset) && offset >= 0 && length >= 0)) {
    throw new RangeError(`Cannot read ${length} bytes at ${offset}: it is not a valid range`);
  }
}

/** Whether a cookie can come from a listing. Any other cookie means the end of the directory. */
export function isCookie(cookie: number): boolean {
  return Number.isSafeInteger(cookie) && cookie >= 0;
}

/** Named part of an image, for {@link checkDisjoint}. */
export interface Region {
  readonly name: string;
  readonly at: number;
  readonly size: number;
}

/** Fails when a region ends beyond `length` or two regions overlap. Empty regions are ignored. */
export function checkDisjoint(regions: readonly Region[], length: number): void {
  const present = regions.filter((region) => region.size > 0).sort((a, b) => a.at - b.at);
  let previous: Region | undefined;
  for (const region of present) {
    checkRange(region.at, region.size, length, region.name);
    if (previous !== undefined && previous.at + previous.size > region.at) {
      unreadable(
        region.name,
        region.at,
        `it overlaps the ${previous.name} that ends at ${previous.at + previous.size}`,
      );
    }
    previous = region;
  }
}

/**
 * `memcmp` of `bytes[start, end)` and `name`, without creating a subarray.
 *
 * @returns negative, zero or positive
 */
export function compareRange(bytes: Uint8Array, start: number, end: number, name: Uint8Array): number {
  const length = Math.min(end - start, name.length);
  for (let i = 0; i < length; i++) {
    const difference = (bytes[start + i] as number) - (name[i] as number);
    if (difference !== 0) return difference;
  }
  return end - start - name.length;
}

/** {@link compareRange} for two ranges of the same bytes. */
export function compareRanges(bytes: Uint8Array, aStart: number, aEnd: number, bStart: number, bEnd: number): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i++) {
    const difference = (bytes[aStart + i] as number) - (bytes[bStart + i] as number);
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}
