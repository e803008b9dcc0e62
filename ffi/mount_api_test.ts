import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { encodeMountAttr, MOUNT_ATTR } from "./mount_api.ts";
import { MS } from "./sys_mount.ts";

Deno.test("struct mount_attr is laid out as linux/mount.h says", () => {
  const attributes = {
    set: MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSYMFOLLOW,
    clear: MOUNT_ATTR.NOSUID,
    propagation: MS.PRIVATE,
  };
  assert.deepEqual(
    encodeMountAttr(attributes),
    goldenBytes(`
      01 00 20 00 00 00 00 00   attr_set: RDONLY | NOSYMFOLLOW
      02 00 00 00 00 00 00 00   attr_clr: NOSUID
      00 00 04 00 00 00 00 00   propagation: MS_PRIVATE
      00 00 00 00 00 00 00 00   userns_fd
    `),
  );
});
