import assert from "node:assert/strict";
import fc from "fast-check";
import { IndexColumn } from "./index_column.ts";

const sets = fc.array(fc.tuple(fc.oneof(fc.nat(20), fc.nat(0xffff_ffff)), fc.nat(0xffff_ffff)));

Deno.test("an index returns the last value set, in any order and size", () => {
  fc.assert(fc.property(sets, (pairs) => {
    const column = new IndexColumn();
    const expected = new Map<number, number>();
    for (const [index, value] of pairs) {
      column.set(index, value);
      expected.set(index, value);
    }
    for (let index = 0; index < 22; index++) assert.equal(column.at(index), expected.get(index));
    for (const [index, value] of expected) assert.equal(column.at(index), value);
  }));
});
