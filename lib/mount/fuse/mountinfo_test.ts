import assert from "node:assert/strict";
import fc from "fast-check";
import { parseMountInfo } from "./mountinfo.ts";

Deno.test("lines are read with and without optional fields, escapes resolved", () => {
  const text = [
    "36 35 98:0 / /mnt rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue",
    "41 36 0:53 / /mnt/a\\040b\\134c ro,relatime - fuse.nydus-gd nydus-gd ro,user_id=0",
    "",
  ].join("\n");
  assert.deepEqual(parseMountInfo(text), [
    { mountId: 36, device: "98:0", mountPoint: "/mnt", fsType: "ext4", source: "/dev/root" },
    { mountId: 41, device: "0:53", mountPoint: "/mnt/a b\\c", fsType: "fuse.nydus-gd", source: "nydus-gd" },
  ]);
});

Deno.test("lines of another form are left out", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    for (const entry of parseMountInfo(text)) assert.equal(typeof entry.mountPoint, "string");
  }));
  assert.deepEqual(parseMountInfo("36 35 98:0 / /mnt rw"), []);
});
