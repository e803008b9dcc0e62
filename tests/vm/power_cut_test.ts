/**
 * Cuts the power of a machine while an image is read. Only in thorough runs.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ignore } from "../../lib/base/errors.ts";
import { TempDir } from "../support/temp_dir.ts";
import { runScript } from "../support/vm/guest_deno.ts";
import { GuestBundles } from "../support/vm/guest_program.ts";
import type { VirtualMachine } from "../support/vm/virtual_machine.ts";
import { IS_THOROUGH, vmTest } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 8 * 60_000;
const READER = "tests/vm/guest/power_cut.ts";
/** Number of files read before the power is cut. */
const FILES_BEFORE = 4;

/** Makes the kernel write dirty pages early and in any order, so that the cut leaves partially written files. */
const HASTE = "echo 20 >/proc/sys/vm/dirty_expire_centisecs; echo 10 >/proc/sys/vm/dirty_writeback_centisecs";

/** Reads the whole image; results are in /exchange/seen, one line per file. */
async function readImage(vm: VirtualMachine, bundles: GuestBundles): Promise<void> {
  const script = runScript({ bundles, file: READER }, ["/data/nydus-gd", "erofs-fscache"]);
  await vm.must(`: >/exchange/seen; ${HASTE}\n${script} >/exchange/seen`);
}

/** Resolves when `count` files have been read, as seen from the host. */
async function filesRead(vm: VirtualMachine, count: number): Promise<void> {
  using watcher = Deno.watchFs(vm.exchange);
  for await (const _event of watcher) if ((await seen(vm)).length >= count) return;
}

async function seen(vm: VirtualMachine): Promise<string[]> {
  const text = await ignore(Deno.errors.NotFound, Deno.readTextFile(`${vm.exchange}/seen`));
  return (text ?? "").split("\n").filter((line) => line !== "");
}

if (IS_THOROUGH) {
  vmTest("after a power cut the cache yields no wrong byte, and all of the image can be read", async (start) => {
    using temp = TempDir.make();
    const bundles = await GuestBundles.make(temp.path, [READER]);
    {
      await using vm = await start({ watchdogMs: WATCHDOG_MS });
      const reading = assert.rejects(readImage(vm, bundles), /its power was cut/);
      await Promise.race([reading, filesRead(vm, FILES_BEFORE)]);
      await vm.cut();
      await reading;
      assert.deepEqual(new Set(await seen(vm)), new Set(["right"]));
    }
    await using vm = await start({ watchdogMs: WATCHDOG_MS });
    await readImage(vm, bundles);
    const lines = await seen(vm);
    assert.deepEqual(new Set(lines), new Set(["right", "all"]));
    assert.equal(lines.at(-1), "all");
  });
}
