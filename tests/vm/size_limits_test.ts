/**
 * Limits for containers on file systems that count by projects, which this machine's kernel cannot. A run of everything
 * leaves dockerd out.
 *
 * @module
 */
import type { DiskOptions } from "../support/vm/disk.ts";
import type { GuestTests } from "../support/vm/guest_deno.ts";
import { guestTest } from "../support/vm/guest_tests.ts";
import { IS_THOROUGH } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 10 * 60_000;
const GIB = 2 ** 30;

const XFS: DiskOptions = { sizeBytes: GIB, fsType: "xfs", mountPoint: "/xfs", mountOptions: "prjquota" };
const EXT4: DiskOptions = {
  sizeBytes: GIB,
  fsType: "ext4",
  makeOptions: ["-O", "quota,project", "-E", "quotatype=prjquota"],
  mountPoint: "/ext4",
  mountOptions: "prjquota",
};

const FILE = "tests/vm/guest/size_limits.ts";
const FILTER = "layer of a container";

const onExt4: GuestTests = { file: FILE, filter: FILTER, env: { TMPDIR: EXT4.mountPoint } };
const onXfs: GuestTests = { file: FILE, ...(IS_THOROUGH ? {} : { filter: FILTER }), env: { TMPDIR: XFS.mountPoint } };

guestTest("containers write as much as their size allows, on xfs and on ext4", [onExt4, onXfs], {
  disks: [EXT4, XFS],
  watchdogMs: WATCHDOG_MS,
});
