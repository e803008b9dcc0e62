/**
 * Size limits of containers on file systems with project quotas, which this machine's kernel lacks, and dockerd on one
 * of them, with lazy images from the kernel's own cache. A run of all tests omits dockerd.
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

const onDisk = (file: string, { mountPoint }: DiskOptions, env: Record<string, string> = {}): GuestTests => ({
  file,
  env: { TMPDIR: mountPoint, ...env },
});

const files = [EXT4, XFS].map((disk) => onDisk("tests/vm/guest/size_limits.ts", disk));
if (IS_THOROUGH) files.push(onDisk("tests/vm/guest/docker.ts", XFS, { NYDUS_GD_TEST_DATA_PATHS: "erofs-fscache" }));

guestTest("containers write as much as their size allows, on xfs and on ext4", files, {
  disks: [EXT4, XFS],
  watchdogMs: WATCHDOG_MS,
});
