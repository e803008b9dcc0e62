import assert from "node:assert/strict";
import { bitmapSize, clearBit, countBits, fillBits, hasBit, setBit } from "./bits.ts";

Deno.test("bits are ordered most significant first, as in nydusd's chunk map", () => {
  const bits = new Uint8Array(new SharedArrayBuffer(bitmapSize(10)));
  setBit(bits, 3);
  setBit(bits, 8);
  assert.deepEqual([...bits], [0x10, 0x80]);
  assert.ok(hasBit(bits, 3) && hasBit(bits, 8) && !hasBit(bits, 4));
  clearBit(bits, 3);
  assert.deepEqual([...bits], [0, 0x80]);
});

Deno.test("filling leaves the unused bits clear", () => {
  for (const [count, last] of [[8, 0xff], [9, 0x80], [15, 0xfe]] as const) {
    const bits = new Uint8Array(bitmapSize(count));
    fillBits(bits, count);
    assert.equal(bits.at(-1), last);
    assert.equal(countBits(bits), count);
  }
});
