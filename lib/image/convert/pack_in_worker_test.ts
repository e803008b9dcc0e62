import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { noise } from "../../../tests/support/convert_kit.ts";
import { concatenate } from "../../base/bytes.ts";
import { packHere } from "../gzip_parts.ts";
import { CompressPool } from "./compress_pool.ts";
import { rafsOptions } from "./rafs_options.ts";

/** More than is in flight at once: parts of many sizes, among them the largest, and none. */
const PARTS = Array.from({ length: 300 }, (_, k) => noise(k % 7 === 0 ? 64 << 10 : k * 97 % 9000, k + 1));
PARTS.push(...Array.from({ length: 100 }, () => new Uint8Array(64 << 10)), new Uint8Array(0));

Deno.test("a Worker packs the same bytes as this thread, one stream after the other", async () => {
  using pool = new CompressPool(rafsOptions());
  const expected = concatenate(await packHere(PARTS));
  assert.deepEqual(new Uint8Array(gunzipSync(expected)), concatenate(PARTS));
  for (const parts of [PARTS, PARTS.toReversed(), PARTS, []]) {
    const packed = concatenate(await pool.packer(Infinity)(parts));
    assert.deepEqual(packed, concatenate(await packHere(parts)));
  }
});

Deno.test("an error of the data is the error of packing it, and another stream can follow", async () => {
  using pool = new CompressPool(rafsOptions());
  const failing = function* () {
    yield* PARTS;
    throw new RangeError("no more");
  };
  await assert.rejects(() => pool.packer(Infinity)(failing()), /^RangeError: no more$/);
  assert.deepEqual(concatenate(await pool.packer(Infinity)(PARTS)), concatenate(await packHere(PARTS)));
});
