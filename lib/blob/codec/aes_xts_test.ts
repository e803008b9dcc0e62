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

const SHORT_KEY = {
  key: hex("00112233445566778899aabbccddeeff0102030405060708090a0b0c0d0e0f10"),
  iv: hex("0123456789abcdef" + "00".repeat(8)),
};

/** Units of 18 bytes and one of 19, encrypted by OpenSSL. */
const SHORT_UNITS: readonly (readonly [what: string, cipher: string, plain: string])[] = [
  ["no byte", "3b9104d9847fc525e5e6cdf687023773de25", ""],
  ["three bytes", "92db9136ea961493b680f44182e47a4141b4", "616263"],
  ["fifteen bytes", "1cf925350ded1c97ad75d49a3c3929a0c893", "41".repeat(15)],
  ["a fill of 0", "34f95846e0f7e3e7fb0f7a95f4c08c8eeb3d", `01${"07".repeat(14)}007890`],
  ["a fill of 17", "b52e46f04ce228da23624d203fd27d38e4de", `01${"07".repeat(14)}117890`],
  ["another first mark", "7ff095c60b6917433f0f478c327df803a437", `01${"07".repeat(14)}0f7990`],
  ["another second mark", "16e03dfb0f95bd2b8a452b08f81110f4a437", `01${"07".repeat(14)}0f7891`],
  ["a byte after the marks", "fddab16bb9b8ad0590eb268917d4b341a43799", `01${"07".repeat(14)}0f789005`],
];

Deno.test("a unit shorter than a block loses its fill, and nothing else does", () => {
  for (const [what, cipher, plain] of SHORT_UNITS) {
    assert.equal(decryptXts(SHORT_KEY, hex(cipher)).toHex(), plain, what);
  }
});
