/**
 * Tests of the virtual machines: properties that other tests rely on.
 *
 * @module
 */
import assert from "node:assert/strict";
import { hasCode } from "../../lib/base/errors.ts";
import { REPOSITORY } from "../support/repository.ts";
import { prepareKernel } from "../support/vm/kernel.ts";
import { KERNEL, vmTest } from "../support/vm/vm_test.ts";

const WATCHDOG_MS = 4 * 60_000;

/** What scripts/test.sh does before all tests, and a test before its machine; $1 is the repository, $2 the kernel. */
const PREPARE = `
root=$1
. "$root/scripts/bootstrap.sh"
bootstrap test vm
exec deno eval "
  const { prepareKernel } = await import('file://$root/tests/support/vm/kernel.ts');
  await prepareKernel('$2');
"`;

vmTest(
  "a machine runs scripts concurrently, and its disk keeps written data after a power cut",
  async (start) => {
    {
      await using vm = await start({ watchdogMs: WATCHDOG_MS });
      assert.match(await vm.must("uname -r"), new RegExp(`^${RegExp.escape(KERNEL)}\\.`));
      const { code, stdout, stderr } = await vm.run("echo out; echo err >&2; exit 7");
      assert.deepEqual([code, stdout, stderr], [7, "out\n", "err\n"]);
      const waiting = vm.must("mkfifo /run/fifo; echo waiting; cat /run/fifo");
      await vm.must("until [ -p /run/fifo ]; do sleep 0.1; done; echo told >/run/fifo");
      assert.equal(await waiting, "waiting\ntold");
      assert.equal(
        await vm.must("stat -c %F /dev/cachefiles"),
        "character special file",
      );
      await vm.must("echo kept >/data/kept; sync /data/kept; echo lost >/data/lost");
      const cut = assert.rejects(
        vm.run("sleep 1000"),
        (error) => hasCode(error, "unavailable") && /power was cut/.test(error.message),
      );
      await vm.cut();
      await cut;
    }
    await using vm = await start({ watchdogMs: WATCHDOG_MS });
    assert.equal(await vm.must("cat /data/kept; cat /data/lost 2>/dev/null || true"), "kept");
  },
);

vmTest("a machine that takes too long is ended by its watchdog", async (start) => {
  await assert.rejects(
    start({ watchdogMs: 1_000 }),
    (error) => hasCode(error, "unavailable") && /ended by its watchdog after 1 s while it booted/.test(error.message),
  );
});

vmTest("installed packages, modules and kernel are used without network access", async () => {
  await prepareKernel(KERNEL);
  const args = ["--net", "sh", "-ec", PREPARE, "sh", REPOSITORY, KERNEL];
  const { success, stderr } = await new Deno.Command("unshare", { args, stdin: "null" }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
});
