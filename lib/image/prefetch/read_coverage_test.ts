import assert from "node:assert/strict";
import fc from "fast-check";
import { ReadCoverage } from "./read_coverage.ts";

const range = fc.record({
  blobIndex: fc.nat({ max: 1 }),
  offset: fc.nat({ max: 40 }),
  length: fc.integer({ min: 1, max: 12 }),
});

Deno.test("a range is covered if each of its bytes is in one of the ranges", () => {
  fc.assert(fc.property(fc.array(range, { maxLength: 12 }), range, (ranges, asked) => {
    const isCovered = (byte: number) =>
      ranges.some(({ blobIndex, offset, length }) =>
        blobIndex === asked.blobIndex && byte >= offset && byte < offset + length
      );
    const bytes = Array.from({ length: asked.length }, (_, i) => asked.offset + i);
    assert.equal(new ReadCoverage(ranges).has(asked), bytes.every(isCovered));
  }));
});
