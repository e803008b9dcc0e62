import assert from "node:assert/strict";
import fc from "fast-check";
import { filledRuns } from "./filled_runs.ts";

const BLOCK = 4096;

Deno.test("runs are the nonzero blocks", () => {
  const blocks = fc.array(fc.constantFrom("zero", "first", "last", "full"), { maxLength: 8 });
  fc.assert(fc.property(blocks, fc.nat({ max: BLOCK - 1 }), fc.nat({ max: 7 }), (kinds, tail, shift) => {
    const bytes = new Uint8Array(shift + kinds.length * BLOCK + tail).subarray(shift);
    kinds.forEach((kind, i) => {
      if (kind === "full") bytes.fill(7, i * BLOCK, (i + 1) * BLOCK);
      if (kind === "first") bytes[i * BLOCK] = 1;
      if (kind === "last") bytes[(i + 1) * BLOCK - 1] = 1;
    });
    const copy = new Uint8Array(bytes.length);
    let last = -1;
    for (const { start, end } of filledRuns(bytes)) {
      assert.ok(start > last && end > start && end <= bytes.length);
      assert.ok(bytes.subarray(start, start + BLOCK).some((byte) => byte !== 0));
      copy.set(bytes.subarray(start, end), start);
      last = end;
    }
    assert.deepEqual(copy, bytes);
    const filled = [...filledRuns(bytes)].reduce((sum, { start, end }) => sum + end - start, 0);
    assert.equal(filled, kinds.filter((kind) => kind !== "zero").length * BLOCK);
  }));
});
