import { equal } from "node:assert/strict";
import { FS_MAGIC, fsName } from "../../../ffi/sys_statfs.ts";
import { unfitReason } from "./home_probe.ts";

Deno.test("unsuitable file systems are recognised by name, others are probed", () => {
  for (const name of ["btrfs", "zfs", "nfs", "overlayfs", "fuse", "ecryptfs"] as const) {
    equal(typeof unfitReason(fsName(FS_MAGIC[name])), "string", name);
  }
  for (const name of ["ext4", "xfs", "tmpfs", "0x6969abcd", "constructor"]) equal(unfitReason(name), undefined, name);
});
