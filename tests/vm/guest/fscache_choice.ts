/**
 * Results of "auto" and `nydus-gd doctor` on a kernel with its own cache.
 *
 * @module
 */
import assert from "node:assert/strict";
import { kernelChecks } from "../../../lib/doctor/kernel_checks.ts";
import { chooseDataPath } from "../../../lib/mount/choose.ts";
import { installationIn } from "../../support/machine/doctor_installation.ts";
import { fuseTest } from "../../support/mount/fuse_mount_kit.ts";
import { TempDir } from "../../support/temp_dir.ts";

const KEPT = { isStrong: true, what: "a process keeps descriptors" } as const;
/** EROFS on files needs 6.12, fanotify pre-content events 6.14; both kernels have cachefiles with `restore`. */
const HAS_EROFS_ON_FILES = !Deno.osRelease().startsWith("6.1.");

fuseTest(
  "auto uses the kernel's own cache if preferred or if nothing better exists, as doctor reports",
  async () => {
    using temp = TempDir.make();
    const folders = { stateDir: temp.path, cacheDir: temp.path };
    const { fsDriver, reason } = await chooseDataPath("auto", folders, { guard: KEPT });
    assert.equal(fsDriver, HAS_EROFS_ON_FILES ? "erofs-fuse" : "erofs-fscache");
    assert.match(reason, HAS_EROFS_ON_FILES ? /^no erofs-fanotify: / : /^no erofs-fanotify: .*; no erofs-fuse: /);
    const preferred = await chooseDataPath("auto", folders, { guard: KEPT, prefersFscache: true });
    assert.equal(preferred.fsDriver, "erofs-fscache");
    assert.match(preferred.reason, /cache\.type fscache/);
    const named = await chooseDataPath("erofs-fscache", folders, { guard: KEPT });
    assert.deepEqual([named.fsDriver, named.warning], ["erofs-fscache", undefined]);
    // not by results(): an emulated processor may exceed doctor's time limit
    const check = kernelChecks(await installationIn(temp)).find(({ name }) => name === "EROFS over fscache");
    const finding = await check?.run(new AbortController().signal);
    assert.equal(finding?.verdict, "ok");
    assert.match(finding?.seen ?? "", /can be mounted, and asks for data/);
  },
);
