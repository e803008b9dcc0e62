/**
 * A whole `serve` with erofs-fscache, on a kernel that has it: images of the real tools compared with their listings, a
 * failing registry, nydusd's API. `sh scripts/test.sh vm` compares all images; a run of all tests compares one per
 * storage format.
 *
 * @module
 */
import { listRafsFixtures } from "../support/rafs/rafs_fixtures.ts";
import type { GuestTests } from "../support/vm/guest_deno.ts";
import { guestTest } from "../support/vm/guest_tests.ts";
import { IS_THOROUGH, KERNEL } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 20 * 60_000;

const FIXTURES = IS_THOROUGH
  ? listRafsFixtures().map(({ name }) => name)
  : ["v5-layers-merged", "v6-inline", "v6-zran", "v6-tarfs", "v6-zstd-encrypt-batch"];

const files: GuestTests[] = [
  { file: "tests/vm/guest/fscache_choice.ts" },
  { file: "tests/kernel/auto_data_path_test.ts", filter: "an image that EROFS cannot represent" },
  { file: "tests/kernel/images_test.ts", filter: "every image matches its listing" },
  { file: "tests/vm/guest/fscache_faults.ts" },
  { file: "tests/vm/guest/fscache_api.ts" },
];

guestTest(`kernel ${KERNEL} shows images of the real tools from its own cache`, files, {
  env: {
    NYDUS_GD_TEST_DATA_PATHS: "erofs-fscache",
    NYDUS_GD_TEST_FIXTURES: `^(${FIXTURES.join("|")})$`,
  },
  watchdogMs: WATCHDOG_MS,
});
