/**
 * Finds blocks of zeros, which need not be stored.
 *
 * @module
 */

/** Block size of most file systems. */
const BLOCK = 4096;

/** A range of bytes. */
export interface FilledRun {
  readonly start: number;
  readonly end: number;
}

/** Yields the ranges of `bytes` between whole blocks of zeros, in order. Blocks are counted from the first byte. */
export function* filledRuns(bytes: Uint8Array<ArrayBuffer>): Generator<FilledRun> {
  let start = -1;
  for (let at = 0; at < bytes.length; at += BLOCK) {
    const isHole = isZero(bytes.subarray(at, at + BLOCK));
    if (!isHole && start < 0) start = at;
    if (isHole && start >= 0) {
      yield { start, end: at };
      start = -1;
    }
  }
  if (start >= 0) yield { start, end: bytes.length };
}

function isZero(bytes: Uint8Array<ArrayBuffer>): boolean {
  const isAligned = bytes.byteOffset % 4 === 0;
  const words = new Uint32Array(bytes.buffer, isAligned ? bytes.byteOffset : 0, isAligned ? bytes.length >>> 2 : 0);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  for (let i = words.length * 4; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}
