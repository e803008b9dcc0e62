import assert from "node:assert/strict";
import { decryptXts } from "./aes_xts.ts";
import { hasCode } from "../../base/errors.ts";

const hex = (text: string) => Uint8Array.fromHex(text);

/** IEEE 1619-2018, annex B: vectors 1, 2, 4 (its first blocks), and those with a partial last block. */
const VECTORS: readonly (readonly [key: string, tweak: string, cipher: string, plain: string])[] = [
  [
    "00".repeat(32),
    "00".repeat(16),
    "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e",
    "00".repeat(32),
  ],
  [
    "11".repeat(16) + "22".repeat(16),
    "3333333333" + "00".repeat(11),
    "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0",
    "44".repeat(32),
  ],
  [
    "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0bfbebdbcbbbab9b8b7b6b5b4b3b2b1b0",
    "9a78563412" + "00".repeat(11),
    "6c1625db4671522d3d7599601de7ca09ed",
    "000102030405060708090a0b0c0d0e0f10",
  ],
];

Deno.test("the test vectors of the standard are decrypted correctly", () => {
  for (const [key, tweak, cipher, plain] of VECTORS) {
    const found = decryptXts({ key: hex(key), iv: hex(tweak) }, hex(cipher));
    assert.equal(found.toHex(), plain);
  }
});

Deno.test("input shorter than a block is an error", () => {
  const cipher = { key: new Uint8Array(32), iv: new Uint8Array(16) };
  assert.throws(() => decryptXts(cipher, new Uint8Array(15)), (error) => hasCode(error, "corrupt"));
});
