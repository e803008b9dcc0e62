import assert from "node:assert/strict";
import fc from "fast-check";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { lz4CompressBlock, lz4DecompressBlock, Lz4Error } from "./liblz4.ts";

Deno.test("the example block of the specification decompresses", () => {
  const block = goldenBytes(`
    1b             token: 1 literal, match of 4 + 11
    61             literal "a"
    01 00          match offset 1
    50             token: 5 literals, the end
    62 63 64 65 66
  `);
  const out = new Uint8Array(64);
  assert.equal(lz4DecompressBlock(block, out), 21);
  assert.equal(new TextDecoder().decode(out.subarray(0, 21)), "a".repeat(16) + "bcdef");
});

Deno.test("compressed data decompresses to the original, also into shared memory", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), fc.nat(50), (bytes, repeat) => {
      const whole = new Uint8Array(bytes.length * (repeat + 1));
      for (let i = 0; i <= repeat; i++) whole.set(bytes, i * bytes.length);
      const out = new Uint8Array(new SharedArrayBuffer(whole.length));
      assert.equal(lz4DecompressBlock(lz4CompressBlock(whole), out), whole.length);
      assert.ok(whole.every((byte, i) => byte === out[i]));
    }),
    { numRuns: 30 },
  );
});

Deno.test("a block larger than its output buffer is an error, and nothing is written beyond the buffer", () => {
  const block = lz4CompressBlock(new Uint8Array(1000).fill(7));
  const out = new Uint8Array(1000);
  assert.throws(() => lz4DecompressBlock(block, out.subarray(0, 999)), Lz4Error);
  assert.equal(out[999], 0);
});

Deno.test("damaged blocks are refused or stay within the output buffer", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    const memory = new Uint8Array(600);
    try {
      assert.ok(lz4DecompressBlock(bytes, memory.subarray(100, 500)) <= 400);
    } catch (error) {
      assert.ok(error instanceof Lz4Error, String(error));
    }
    assert.ok(memory.subarray(0, 100).every((byte) => byte === 0));
    assert.ok(memory.subarray(500).every((byte) => byte === 0));
  }));
});
