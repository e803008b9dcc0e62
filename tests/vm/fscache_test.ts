/**
 * Images out of the kernel's own cache, erofs-fscache, on a kernel that has it. `sh scripts/test.sh vm` does all of it; a
 * run of everything leaves the full disk and dockerd out, kills less often, and compares fewer images.
 *
 * @module
 */
import { type GuestTests, testInMachine } from "../support/vm/guest_deno.ts";
import { bundleForGuest } from "../support/vm/guest_program.ts";
import { IS_THOROUGH, KERNEL, vmTest } from "../support/vm/vm_test.ts";
import { listRafsFixtures } from "../support/rafs_fixtures.ts";
import { TempDir } from "../support/temp_dir.ts";

const WATCHDOG_MS = 20 * 60_000;

const FS_DRIVER = "erofs-fscache";
/** Images that are compared with their listings: the repository's, or one of each way in which data are stored. */
const FIXTURES = IS_THOROUGH
  ? listRafsFixtures().map(({ name }) => name)
  : ["v5-layers-merged", "v6-inline", "v6-zran", "v6-tarfs", "v6-zstd-encrypt-batch"];
const KILLS = IS_THOROUGH ? 20 : 4;
/** More would leave the emulated processors little time for the server. */
const READERS = 2;
/** Long enough for an emulated processor to answer reads in between. */
const LIFE_MS = 10_000;

vmTest(`kernel ${KERNEL} shows images out of its own cache, whatever goes wrong`, async (start, t) => {
  using program = TempDir.make();
  const env = {
    NYDUS_GD_TEST_PROGRAM: await bundleForGuest(program.path),
    NYDUS_GD_TEST_DATA_PATHS: FS_DRIVER,
    NYDUS_GD_TEST_FIXTURES: `^(${FIXTURES.join("|")})$`,
    NYDUS_GD_TAKEOVER_ROUNDS: String(KILLS),
    NYDUS_GD_TAKEOVER_READERS: String(READERS),
    NYDUS_GD_TAKEOVER_LIFE_MS: String(LIFE_MS),
  };
  await using vm = await start({ watchdogMs: WATCHDOG_MS });
  const guest = (tests: GuestTests) => testInMachine(vm, t, { ...tests, env });
  await guest({ file: "tests/vm/guest/fscache_images.ts" });
  await guest({ file: "tests/vm/guest/fscache_lies.ts" });
  await guest({ file: "tests/vm/guest/fscache_api.ts" });
  if (IS_THOROUGH) await guest({ file: "tests/vm/guest/fscache_disk.ts" });
  await guest({ file: "tests/vm/guest/fscache_faults.ts" });
  await guest({ file: "tests/stress/takeover_test.ts", filter: "readers of a killed server wait" });
  await guest({ file: "tests/kernel/images_test.ts", filter: "every image shows" });
  if (IS_THOROUGH) await guest({ file: "tests/vm/guest/docker.ts" });
});
