import assert from "node:assert/strict";
import { SnapshotIndex } from "./snapshot_index.ts";

Deno.test("a snapshot on a parent that is gone is refused with what to do, any other lookup without", () => {
  const index = new SnapshotIndex([]);
  assert.throws(() => index.creatable('prepare snapshot "box"', "box", "base"), {
    message: 'Cannot prepare snapshot "box": snapshot "base" does not exist',
    hint: "if it is an image's, remove the image and its containers, and pull it again",
  });
  assert.throws(() => index.get("base", "stat snapshot"), { code: "not-found", hint: undefined });
});
