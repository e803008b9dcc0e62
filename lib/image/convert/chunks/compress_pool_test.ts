import assert from "node:assert/strict";
import { noise } from "../../../../tests/support/image/convert_kit.ts";
import { concatenate } from "../../../base/bytes.ts";
import { packHere } from "../../build/gzip_blocks.ts";
import { CompressPool } from "./compress_pool.ts";

const PARTS = Array.from({ length: 100 }, (_, k) => noise(k % 2 === 0 ? 64 << 10 : k * 97 % 9000, k + 1));

Deno.test("Workers pack the same bytes as this thread, one stream after the other", async () => {
  using pool = new CompressPool();
  pool.start();
  for (const parts of [PARTS, PARTS.toReversed(), PARTS, []]) {
    const packed = concatenate(await pool.packer(Infinity)(parts));
    assert.deepEqual(packed, concatenate(await packHere(parts)));
  }
});

Deno.test("an error of the data is the error of packing it, and another stream can follow", async () => {
  using pool = new CompressPool();
  const failing = function* () {
    yield* PARTS;
    throw new RangeError("no more");
  };
  await assert.rejects(() => pool.packer(Infinity)(failing()), /^RangeError: no more$/);
  assert.deepEqual(concatenate(await pool.packer(Infinity)(PARTS)), concatenate(await packHere(PARTS)));
});
