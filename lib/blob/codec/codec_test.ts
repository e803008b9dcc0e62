import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { lz4CompressBlock } from "../../../ffi/liblz4.ts";
import { zstdCompress } from "../../../ffi/libzstd.ts";
import { plainBytes } from "../../../tests/support/blob/synthetic_blob.ts";
import { hasCode } from "../../base/errors.ts";
import { decompressInto, digest, prepareDigests } from "./codec.ts";

const PLAIN = plainBytes(10_000, 1);
const STORED = {
  none: PLAIN,
  lz4_block: lz4CompressBlock(PLAIN),
  gzip: new Uint8Array(gzipSync(PLAIN)),
  zstd: zstdCompress(PLAIN, 3),
} as const;

for (const compressor of ["none", "lz4_block", "gzip", "zstd"] as const) {
  Deno.test(`${compressor} yields exactly the expected size, or is corrupt`, () => {
    const plain = new Uint8Array(PLAIN.length);
    decompressInto(compressor, STORED[compressor], plain);
    assert.deepEqual(plain, PLAIN);
    const cut = STORED[compressor].subarray(0, STORED[compressor].length - 9);
    const cases: [string, Uint8Array, number][] = [
      ["one byte less than expected", STORED[compressor], PLAIN.length + 1],
      ["one byte more than expected", STORED[compressor], PLAIN.length - 1],
      ["cut", cut, PLAIN.length],
      ["nothing", new Uint8Array(0), PLAIN.length],
    ];
    if (compressor !== "none") cases.push(["rubbish", new Uint8Array(1000).fill(0xa5), PLAIN.length]);
    for (const [what, stored, size] of cases) {
      assert.throws(
        () => decompressInto(compressor, stored, new Uint8Array(size)),
        (error) => hasCode(error, "corrupt"),
        what,
      );
    }
  });
}

Deno.test("digests of empty input are correct", async () => {
  await prepareDigests();
  const empty = new Uint8Array(0);
  assert.equal(digest("sha256", empty).toHex(), createHash("sha256").digest("hex"));
  assert.equal(
    digest("blake3", empty).toHex(),
    "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
  );
});
