import assert from "node:assert/strict";
import { DIGEST_SIZE } from "./chunk_table.ts";
import { DigestNumbers } from "./digest_numbers.ts";

Deno.test("digests are numbered in order of first occurrence, for any number of them", () => {
  const numbers = new DigestNumbers();
  const digests = Array.from({ length: 5000 }, (_, k) => {
    const digest = new Uint8Array(DIGEST_SIZE);
    new DataView(digest.buffer).setUint32(k % 8 * 4, k + 1);
    return digest;
  });
  digests.forEach((digest, k) => assert.equal(numbers.numberOf(digest, 0), k));
  const joined = new Uint8Array(DIGEST_SIZE * 2);
  digests.forEach((digest, k) => {
    joined.set(digest, DIGEST_SIZE);
    assert.equal(numbers.numberOf(joined, DIGEST_SIZE), k);
    assert.deepEqual(numbers.digestOf(k), digest);
  });
  assert.equal(numbers.count, digests.length);
});
