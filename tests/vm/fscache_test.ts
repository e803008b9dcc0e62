/**
 * Images out of the kernel's own cache.
 *
 * @module
 */
import { testInMachine } from "../support/vm/guest_deno.ts";
import { KERNEL, vmTest } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 10 * 60_000;

vmTest(
  `kernel ${KERNEL} shows images out of its own cache, and mounts what nydusd's API offers it`,
  async (start, t) => {
    await using vm = await start({ watchdogMs: WATCHDOG_MS });
    await testInMachine(vm, t, { file: "tests/vm/guest/fscache_images.ts" });
    await testInMachine(vm, t, { file: "tests/vm/guest/fscache_api.ts" });
  },
);
