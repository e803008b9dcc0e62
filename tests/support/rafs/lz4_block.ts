/**
 * A decoder of raw LZ4 blocks without a library, for independent tests of formats. Slow and strict.
 *
 * Source: lz4/doc/lz4_Block_format.md.
 *
 * @module
 */

/** Decodes one block to exactly `size` bytes. */
export function decodeLz4Block(block: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(size);
  let from = 0;
  let to = 0;
  const next = () => {
    const byte = block[from++];
    if (byte === undefined) throw new RangeError("Cannot decode LZ4 block: it ends early");
    return byte;
  };
  const length = (nibble: number) => {
    if (nibble < 15) return nibble;
    let total = 15;
    for (let byte = 255; byte === 255;) total += byte = next();
    return total;
  };
  while (from < block.length) {
    const token = next();
    const literals = length(token >> 4);
    if (to + literals > size || from + literals > block.length) {
      throw new RangeError("Cannot decode LZ4 block: literals do not fit");
    }
    out.set(block.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from === block.length) break;
    const distance = next() | (next() << 8);
    const match = length(token & 15) + 4;
    if (distance === 0 || distance > to || to + match > size) {
      throw new RangeError("Cannot decode LZ4 block: match does not fit");
    }
    for (const end = to + match; to < end; to++) out[to] = out[to - distance] as number;
  }
  if (to !== size) throw new RangeError(`Cannot decode LZ4 block: it decompresses to ${to} bytes, expected ${size}`);
  return out;
}
