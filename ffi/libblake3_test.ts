import assert from "node:assert/strict";
import fc from "fast-check";
import { createBLAKE3 } from "hash-wasm";
import { loadBlake3 } from "./libblake3.ts";

Deno.test("the library that scripts/bootstrap.sh compiles gives the digests of another implementation", async () => {
  const blake3 = loadBlake3();
  assert.ok(blake3, "not found: sh scripts/bootstrap.sh build");
  const other = await createBLAKE3();
  const expected = (data: Uint8Array) => other.init().update(data).digest("hex");
  assert.equal(blake3(new Uint8Array(0)).toHex(), expected(new Uint8Array(0)));
  // its vector code takes 4, 8 or 16 blocks of 1024 bytes at a time
  const sizes = fc.oneof(fc.nat(70_000), fc.nat(40).map((blocks) => blocks * 1024));
  fc.assert(
    fc.property(sizes, fc.nat(3), fc.nat(255), (size, offset, seed) => {
      const data = new Uint8Array(new SharedArrayBuffer(offset + size), offset).map((_, i) => i * 7 + (i >> 9) + seed);
      assert.equal(blake3(data).toHex(), expected(data.slice()));
    }),
    { numRuns: 200 },
  );
});
