import assert from "node:assert/strict";
import { CACHE_BLOCK } from "../../../ffi/cachefiles.ts";
import { FILL_BYTES, FillBuffers } from "./fill_buffers.ts";

Deno.test("buffers are page-aligned, used by one caller at a time, and reused", async () => {
  using buffers = new FillBuffers();
  const first = await buffers.with(async (outer) => {
    await buffers.with((inner) => {
      assert.notEqual(inner.address, outer.address);
      for (const { address, length } of [inner, outer]) {
        assert.deepEqual([address % BigInt(CACHE_BLOCK), length], [0n, FILL_BYTES]);
      }
      return Promise.resolve();
    });
    return outer.address;
  });
  await buffers.with((buffer) => Promise.resolve(assert.equal(buffer.address, first)));
});
