import assert from "node:assert/strict";
import { parseContentRange } from "./content_range.ts";

Deno.test("Content-Range is parsed, and refused if it contradicts itself", () => {
  assert.deepEqual(parseContentRange("bytes 0-65535/1048576"), { first: 0, last: 65535, total: 1048576 });
  assert.deepEqual(parseContentRange(" Bytes 5-5/* "), { first: 5, last: 5, total: undefined });
  for (
    const wrong of ["", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "items 0-1/2", "bytes 0-1/2,", "bytes -1-2/3"]
  ) {
    assert.equal(parseContentRange(wrong), undefined, wrong);
  }
});
