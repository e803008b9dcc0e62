import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { mount, MOUNT_DATA_MAX, umount2 } from "./sys_mount.ts";

Deno.test("options longer than a page are refused, not truncated", () => {
  assert.throws(() => mount("x", "/nowhere", "tmpfs", 0, "o".repeat(MOUNT_DATA_MAX + 1)), {
    name: "RangeError",
    message: 'Cannot mount "/nowhere": options are 4096 bytes, mount(2) takes 4095',
  });
  assert.throws(() => mount("x", "/nowhere", "tmpfs", 0, "é".repeat(MOUNT_DATA_MAX / 2 + 1)), RangeError);
});

Deno.test("a NUL in any string argument of mount is EINVAL", () => {
  for (const [source, target, type] of [["a\0", "/x", "tmpfs"], ["a", "/x\0", "tmpfs"], ["a", "/x", "t\0"]] as const) {
    assert.throws(() => mount(source, target, type, 0), (e) => isErrno(e, "EINVAL"));
  }
  assert.throws(() => mount("x", "/nowhere", "tmpfs", 0, "size=1m\0mode=0"), (e) => isErrno(e, "EINVAL"));
});

Deno.test("unmounting a path that is not a mount point is an error", () => {
  using temp = TempDir.make();
  assert.throws(() => umount2(temp.join("none"), 0), (e) => isErrno(e, "ENOENT", "EPERM"));
});
