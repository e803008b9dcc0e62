import assert from "node:assert/strict";
import { quietLogs } from "../../../tests/support/quiet_logs.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { leaveReferences, takeReferences } from "./left_references.ts";

Deno.test("references are returned once", async () => {
  using temp = TempDir.make();
  const counts = new Map([[1, 7], [2 ** 23 - 1, 0]]);
  await leaveReferences(temp.path, counts);
  assert.deepEqual(await takeReferences(temp.path), counts);
  assert.deepEqual(await takeReferences(temp.path), new Map());
});

Deno.test("a damaged file is ignored", async () => {
  await using _quiet = await quietLogs();
  using temp = TempDir.make();
  for (const text of ["", "{", "[[1, -1]]", "[[1]]", '{"1": 2}']) {
    await Deno.writeTextFile(temp.join("fuse-references.json"), text);
    assert.deepEqual(await takeReferences(temp.path), new Map(), text);
  }
});
