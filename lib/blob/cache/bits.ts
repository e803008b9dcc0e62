/**
 * Bitmaps in the layout of nydusd's chunk map: bit i is 0x80 >> (i & 7) of byte i >> 3.
 *
 * Single bits are read and changed with Atomics, so a bitmap in shared memory needs no other lock.
 *
 * @module
 */

/** A bitmap, in shared memory or not. */
export type Bits = Uint8Array<ArrayBuffer> | Uint8Array<SharedArrayBuffer>;

/** Whether bit `i` is set. `i` must be in range. */
export function hasBit(bits: Bits, i: number): boolean {
  return (Atomics.load(bits, i >> 3) & (0x80 >> (i & 7))) !== 0;
}

/** Sets bit `i`. */
export function setBit(bits: Bits, i: number): void {
  Atomics.or(bits, i >> 3, 0x80 >> (i & 7));
}

/** Clears bit `i`, and tells whether it was set: of several threads, one gets true. */
export function clearBit(bits: Bits, i: number): boolean {
  const bit = 0x80 >> (i & 7);
  return (Atomics.and(bits, i >> 3, ~bit & 0xff) & bit) !== 0;
}

/** Bytes needed for a bitmap of `count` bits. */
export function bitmapSize(count: number): number {
  return Math.ceil(count / 8);
}

/** Sets the first `count` bits and clears the unused ones of the last byte. */
export function fillBits(bits: Bits, count: number): void {
  bits.fill(0xff);
  maskTail(bits, count);
}

/** Clears the unused bits of the last byte. */
export function maskTail(bits: Bits, count: number): void {
  if ((count & 7) !== 0) bits[count >> 3] = (bits[count >> 3] as number) & (0xff00 >> (count & 7));
}

/** Number of bits that are set. */
export function countBits(bits: Bits): number {
  let total = 0;
  for (let byte of bits) {
    for (; byte !== 0; byte &= byte - 1) total++;
  }
  return total;
}
