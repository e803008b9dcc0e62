import assert from "node:assert/strict";
import type { CheckReport } from "../image/check/check_image.ts";
import { checkLines } from "./check_text.ts";

const REPORT: CheckReport = {
  version: 6,
  names: 416,
  inodes: 1,
  blobs: [{ id: "a", bytes: 5, chunks: 9, verifiedChunks: 7 }, {
    id: "b",
    bytes: undefined,
    chunks: 0,
    verifiedChunks: 1,
  }],
  count: 0,
  findings: [],
  remarks: [],
};

Deno.test("the last line states what was checked, and the result", () => {
  assert.deepEqual(checkLines(REPORT), ["RAFS v6, 416 names, 1 inode, 2 blobs, 8 chunks verified: nothing is wrong"]);
  const alone = { ...REPORT, blobs: [], count: 1, findings: [], remarks: ["blobs were not checked"] };
  assert.deepEqual(checkLines(alone), [
    "… and 1 more, which are not shown",
    "remark: blobs were not checked",
    "RAFS v6, 416 names, 1 inode: 1 finding",
  ]);
  assert.deepEqual(
    checkLines({ ...REPORT, version: undefined, count: 1, findings: [] }).at(-1),
    "no readable bootstrap: 1 finding",
  );
});

Deno.test("a finding is one line that is safe for a terminal", () => {
  const findings = [{ kind: "chunk", where: "blob a", state: "one\ntwo\x1b[2J" } as const];
  assert.equal(checkLines({ ...REPORT, count: 1, findings })[0], "chunk blob a: one; two\\x1b[2J");
});
