/**
 * Limits for containers on file systems that count by projects, which this machine's kernel cannot. A run of everything
 * leaves dockerd out.
 *
 * @module
 */
import { TempDir } from "../support/temp_dir.ts";
import type { DiskOptions } from "../support/vm/disk.ts";
import { testInMachine } from "../support/vm/guest_deno.ts";
import { GuestBundles } from "../support/vm/guest_program.ts";
import { IS_THOROUGH, vmTest } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 10 * 60_000;
const GIB = 2 ** 30;
const FILE = "tests/vm/guest/size_limits.ts";

const XFS: DiskOptions = { sizeBytes: GIB, fsType: "xfs", mountPoint: "/xfs", mountOptions: "prjquota" };
const EXT4: DiskOptions = {
  sizeBytes: GIB,
  fsType: "ext4",
  makeOptions: ["-O", "quota,project", "-E", "quotatype=prjquota"],
  mountPoint: "/ext4",
  mountOptions: "prjquota",
};

vmTest("containers write as much as their size allows, on xfs and on ext4", async (start, t) => {
  using temp = TempDir.make();
  const bundles = await GuestBundles.make(temp.path, [FILE]);
  await using vm = await start({ watchdogMs: WATCHDOG_MS });
  await testInMachine(vm, t, { file: FILE, filter: "layer of a container" }, {
    bundles,
    env: { TMPDIR: EXT4.mountPoint },
  });
  const onXfs = IS_THOROUGH ? { file: FILE } : { file: FILE, filter: "layer of a container" };
  await testInMachine(vm, t, onXfs, { bundles, env: { TMPDIR: XFS.mountPoint } });
}, [EXT4, XFS]);
