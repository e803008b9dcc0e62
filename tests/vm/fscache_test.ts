/**
 * erofs-fscache, the kernel's own cache, on a kernel that has it, and its failure modes. `sh scripts/test.sh vm` runs
 * everything; a run of all tests omits the full disk and the death of all holders, and kills less often. Tests that
 * need a kernel whose cache can be taken over by another process are omitted on others.
 *
 * @module
 */
import type { GuestTests } from "../support/vm/guest_deno.ts";
import { guestTest } from "../support/vm/guest_tests.ts";
import { IS_THOROUGH, KERNEL } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 20 * 60_000;

const KILLS = IS_THOROUGH ? 20 : 4;
/** More readers would leave the emulated processor too little time for the server. */
const READERS = 2;
/** Long enough for an emulated processor to answer reads in between. */
const LIFE_MS = 6_000;

const files: GuestTests[] = [
  { file: "tests/vm/guest/fscache_images.ts" },
  { file: "tests/vm/guest/fscache_lies.ts" },
  { file: "tests/kernel/image_views_test.ts", filter: "shifted owners" },
  { file: "tests/stress/takeover_test.ts", filter: "readers of a killed server wait" },
];
if (IS_THOROUGH) {
  files.push(
    { file: "tests/vm/guest/fscache_disk.ts" },
    { file: "tests/kernel/takeover_test.ts", filter: "after the death of server and keeper" },
  );
}

guestTest(`kernel ${KERNEL} shows images from its own cache, under all faults`, files, {
  env: {
    NYDUS_GD_TEST_DATA_PATHS: "erofs-fscache",
    NYDUS_GD_TAKEOVER_ROUNDS: String(KILLS),
    NYDUS_GD_TAKEOVER_READERS: String(READERS),
    NYDUS_GD_TAKEOVER_LIFE_MS: String(LIFE_MS),
  },
  watchdogMs: WATCHDOG_MS,
});
