import assert from "node:assert/strict";
import { open as openNode } from "node:fs/promises";
import { O, open } from "../../ffi/fcntl.ts";
import { writeAll } from "../../ffi/unistd.ts";
import { thrownBy } from "../../tests/support/thrown_by.ts";
import { describeWriteError, isDiskFull, writeFailure } from "./disk_full.ts";
import { hasCode } from "./errors.ts";

/** A device that is always full. */
const FULL = "/dev/full";

Deno.test("a full disk is reported with the path of the file, whichever call failed", async () => {
  using file = open(FULL, O.WRONLY);
  const byCall = await thrownBy(() => writeAll(file, new Uint8Array(1)));
  assert.equal(describeWriteError(byCall), "the disk of /dev/full is full");
  const byDeno = await thrownBy(() => Deno.writeFile(FULL, new Uint8Array(1)));
  const byNode = await thrownBy(async () => {
    await using handle = await openNode(FULL, "w");
    await handle.writeFile("x");
  });
  for (const error of [byCall, byDeno, byNode]) {
    assert.ok(isDiskFull(error), String(error));
    const described = writeFailure(error, "write /x", "/x");
    assert.ok(hasCode(described, "io"));
    assert.equal(described.message, "Cannot write /x: the disk of /x is full");
  }
});

Deno.test("other errors of the operating system are reported unchanged", async () => {
  const refused = await thrownBy(() => open("/no/such/folder/file", O.WRONLY));
  const described = writeFailure(refused, "write /x", "/x");
  assert.ok(hasCode(described, "io"));
  assert.equal(described.message, 'Cannot write /x: Cannot open "/no/such/folder/file": ENOENT');
  const other = new TypeError("a defect");
  assert.equal(writeFailure(other, "write /x", "/x"), other);
});
