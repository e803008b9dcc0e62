import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { idmapAttributes } from "./mount_api.ts";

Deno.test("a request to map the owners of a mount is struct mount_attr", () => {
  assert.deepEqual(
    idmapAttributes(7),
    goldenBytes(`
    00 00 10 00 00 00 00 00  attr_set: MOUNT_ATTR_IDMAP
    00 00 00 00 00 00 00 00  attr_clr
    00 00 00 00 00 00 00 00  propagation: as before
    07 00 00 00 00 00 00 00  userns_fd
  `),
  );
});
