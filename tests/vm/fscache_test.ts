/**
 * The kernel's own cache, erofs-fscache, on a kernel that has it, and what can go wrong. `sh scripts/test.sh vm` does all of
 * it; a run of everything leaves the full disk and the death of all holders out, and kills less often. What needs a kernel
 * that lets another process go on with its cache is left out on others.
 *
 * @module
 */
import type { GuestTests } from "../support/vm/guest_deno.ts";
import { guestTest } from "../support/vm/guest_tests.ts";
import { IS_THOROUGH, KERNEL } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 20 * 60_000;

const KILLS = IS_THOROUGH ? 20 : 4;
/** More would leave the emulated processors little time for the server. */
const READERS = 2;
/** Long enough for an emulated processor to answer reads in between. */
const LIFE_MS = 6_000;

const files: GuestTests[] = [
  { file: "tests/vm/guest/fscache_images.ts" },
  { file: "tests/vm/guest/fscache_lies.ts" },
  { file: "tests/stress/takeover_test.ts", filter: "readers of a killed server wait" },
];
if (IS_THOROUGH) {
  files.push(
    { file: "tests/vm/guest/fscache_disk.ts" },
    { file: "tests/kernel/takeover_test.ts", filter: "where server and keeper both died" },
  );
}

guestTest(`kernel ${KERNEL} shows images out of its own cache, whatever goes wrong`, files, {
  env: {
    NYDUS_GD_TEST_DATA_PATHS: "erofs-fscache",
    NYDUS_GD_TAKEOVER_ROUNDS: String(KILLS),
    NYDUS_GD_TAKEOVER_READERS: String(READERS),
    NYDUS_GD_TAKEOVER_LIFE_MS: String(LIFE_MS),
  },
  watchdogMs: WATCHDOG_MS,
});
