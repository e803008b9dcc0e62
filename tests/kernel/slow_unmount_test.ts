/**
 * The unmount of a container's layer writes to its disk first, and a slow disk must not stop the daemon meanwhile.
 *
 * The disk is a loop device on a file of another one, which is frozen.
 *
 * @module
 */
import { equal, ok } from "node:assert/strict";
import { mountIdAt } from "../../ffi/mountinfo.ts";
import { mountOverlay, unmountAllOffThread } from "../../lib/layer/overlay/overlay_mount.ts";
import { unmountBelow } from "../support/mount/unmount_below.ts";
import { endProcess } from "../support/process/end_process.ts";
import { sh } from "../support/process/shell.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";
import { turn } from "../support/until.ts";

/** Then the disk thaws, whatever the test does: everybody's sync(2) waits for it. */
const FROZEN_SECONDS = 10;

rootTest("a thread that unmounts what was written to a slow disk does other things meanwhile", async () => {
  using temp = TempDir.make();
  const [disk, part, merged] = ["disk", "part", "merged"].map((name) => temp.join(name)) as [string, string, string];
  try {
    await sh(
      `mkdir "$1" "$2" "$3"
      truncate -s 96M "$1.img"
      mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$1.img"
      mount -o loop "$1.img" "$1"
      truncate -s 64M "$1/part.img"
      mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$1/part.img"
      mount -o loop "$1/part.img" "$2"
      mkdir "$2/lower" "$2/diff" "$2/work"`,
      disk,
      part,
      merged,
    );
    mountOverlay({ lowers: [`${part}/lower`], upper: { diff: `${part}/diff`, work: `${part}/work` } }, merged);
    Deno.writeTextFileSync(`${merged}/written`, "x".repeat(100_000));
    const thawing = new Deno.Command("sh", {
      args: ["-c", `sleep ${FROZEN_SECONDS}; fsfreeze --unfreeze "$0"`, disk],
    }).spawn();
    await sh(`fsfreeze --freeze "$1"`, disk);
    let isDone = false;
    const unmounted = unmountAllOffThread(merged).then(() => isDone = true);
    await turn();
    const wasDone = isDone;
    await sh(`fsfreeze --unfreeze "$1"`, disk); // fails if it has thawed by itself
    endProcess(thawing);
    await Promise.all([unmounted, thawing.status]);
    ok(!wasDone, "the unmount has waited for the disk");
    equal(mountIdAt(merged), undefined);
    equal(Deno.readTextFileSync(`${part}/diff/written`).length, 100_000);
  } finally {
    unmountBelow(temp.path);
  }
});
