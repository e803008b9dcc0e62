/**
 * Numbers and byte arrays: little-endian; 64-bit values only if they fit a double.
 *
 * @module
 */

/**
 * Reads a u16. Like {@link readU32}, faster than the view's own method in code that does not run long: the runtime's
 * first compiler inlines the methods for signed numbers only.
 */
export function readU16(view: DataView, at: number): number {
  return view.getInt16(at, true) & 0xffff;
}

/** Reads a u32. */
export function readU32(view: DataView, at: number): number {
  return view.getInt32(at, true) >>> 0;
}

/** Writes a number modulo 2^16. */
export function writeU16(view: DataView, at: number, value: number): void {
  view.setInt16(at, value, true);
}

/** Writes an integer modulo 2^32. */
export function writeU32(view: DataView, at: number, value: number): void {
  view.setInt32(at, value, true);
}

/**
 * Reads a u64 that must be at most 2^53-1.
 *
 * @throws {RangeError} beyond 2^53-1, and beyond the view
 */
export function readU64(view: DataView, at: number): number {
  const value = readU32(view, at) + readU32(view, at + 4) * 0x1_0000_0000;
  if (value > Number.MAX_SAFE_INTEGER) throw new RangeError(`Cannot read u64 at ${at}: value exceeds 2^53-1`);
  return value;
}

/** Writes a safe integer as a u64. */
export function writeU64(view: DataView, at: number, value: number): void {
  writeU32(view, at, value);
  writeU32(view, at + 4, Math.floor(value / 0x1_0000_0000));
}

/** Rounds `value` up to a multiple of `unit`. Exact up to 2^53-1, unlike bit operations. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** memcmp: negative, zero or positive. A prefix sorts before the longer array. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Whether two arrays hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

/** Encodes as lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/**
 * Text with one character per byte (U+0000…U+00FF), usable as a Map key that sorts in byte order. WebIDL's ByteString.
 */
export type ByteString = string;

/** Number of arguments that fits on every stack. */
const MAX_ARGUMENTS = 8192;

/** Converts bytes to a {@link ByteString}. */
export function toByteString(bytes: Uint8Array): ByteString {
  if (bytes.length <= MAX_ARGUMENTS) return fromCodes(bytes);
  let text = "";
  for (let at = 0; at < bytes.length; at += MAX_ARGUMENTS) text += fromCodes(bytes.subarray(at, at + MAX_ARGUMENTS));
  return text;
}

/** `apply` takes a fifth of the time of spread arguments. */
function fromCodes(codes: ArrayLike<number>): string {
  return String.fromCharCode.apply(null, codes as number[]);
}

/** Converts a {@link ByteString} to bytes; a character above U+00FF loses its high bits. */
export function fromByteString(text: ByteString): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** Maximum bytes for which a loop is faster than creating the views that `set` needs. */
const FEW_BYTES = 64;

/** Copies `size` bytes from `start` of `from` to `at` of `to`. Both ranges must exist. */
export function copyBytes(from: Uint8Array, start: number, size: number, to: Uint8Array, at: number): void {
  if (size > FEW_BYTES) to.set(from.subarray(start, start + size), at);
  else for (let k = 0; k < size; k++) to[at + k] = from[start + k] as number;
}

/** Total bytes of all parts. */
export function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** Concatenates all parts. */
export function concatenate(parts: Iterable<Uint8Array>): Uint8Array<ArrayBuffer> {
  const all = [...parts];
  const out = new Uint8Array(lengthOf(all));
  let at = 0;
  for (const part of all) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Returns `bytes`, or a copy if they are in shared memory, which some APIs reject. */
export function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return isUnshared(bytes) ? bytes : new Uint8Array(bytes);
}

function isUnshared(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer;
}
