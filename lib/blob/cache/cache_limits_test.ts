import assert from "node:assert/strict";
import fc from "fast-check";
import type { StoredBlob } from "./cache_inventory.ts";
import { chooseVictims, excessBytes, type Fill } from "./cache_limits.ts";

const blob = (name: string, bytes: number, lastUsedMs = 0): StoredBlob => ({ name, owner: name, bytes, lastUsedMs });
const NO_LIMITS = { maxSize: { percent: 100 }, minFree: { percent: 0 } };

Deno.test("the least recently used blobs are chosen for eviction, no more than needed", () => {
  const blobs = [blob("a", 100), blob("b", 100), blob("c", 100)];
  const fill = { usedBytes: 300, freeBytes: 1000, totalBytes: 10_000 };
  const victims = (maxBytes: number, more: number) =>
    chooseVictims(blobs, fill, { ...NO_LIMITS, maxSize: { bytes: maxBytes } }, more).map(({ name }) => name).join("");
  assert.equal(victims(300, 0), "");
  assert.equal(victims(299, 0), "a");
  assert.equal(victims(310, 20), "a");
  assert.equal(victims(200, 10), "ab");
  assert.equal(victims(0, 0), "abc");
});

Deno.test("min_free is respected as well, and percentages are of the file system", () => {
  const fill = { usedBytes: 300, freeBytes: 100, totalBytes: 1000 };
  assert.equal(excessBytes(fill, NO_LIMITS, 100), 0);
  assert.equal(excessBytes(fill, NO_LIMITS, 101), 1);
  assert.equal(excessBytes(fill, { ...NO_LIMITS, minFree: { percent: 5 } }, 60), 10);
  assert.equal(excessBytes(fill, { ...NO_LIMITS, minFree: { bytes: 100 } }, 0), 0);
  assert.equal(excessBytes(fill, { ...NO_LIMITS, maxSize: { percent: 25 } }, 0), 50);
  assert.equal(excessBytes(fill, { ...NO_LIMITS, maxSize: { percent: 25 } }, 0, 0.02), 55);
});

Deno.test("after eviction the limits hold or nothing is left; older blobs are evicted first", () => {
  const fills = fc.record({ freeBytes: fc.nat(1e6), totalBytes: fc.integer({ min: 1, max: 1e7 }) });
  const limits = fc.record({
    maxSize: fc.oneof(fc.record({ bytes: fc.nat(1e6) }), fc.record({ percent: fc.nat(100) })),
    minFree: fc.oneof(fc.record({ bytes: fc.nat(1e6) }), fc.record({ percent: fc.nat(100) })),
  });
  fc.assert(fc.property(fc.array(fc.nat(1e5)), fills, limits, fc.nat(1e5), (sizes, disk, bounds, more) => {
    const blobs = sizes.map((bytes, index) => blob(String(index), bytes, index));
    const sum = (some: readonly StoredBlob[]) => some.reduce((total, { bytes }) => total + bytes, 0);
    const fill: Fill = { ...disk, usedBytes: sum(blobs) };
    const victims = chooseVictims(blobs, fill, bounds, more);
    assert.deepEqual(victims, blobs.slice(0, victims.length));
    const freed = sum(victims);
    const after = { ...fill, usedBytes: fill.usedBytes - freed, freeBytes: fill.freeBytes + freed };
    if (victims.length < blobs.length) assert.equal(excessBytes(after, bounds, more), 0);
  }));
});
