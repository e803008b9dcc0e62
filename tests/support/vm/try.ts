/**
 * A virtual machine by hand: runs a script in one, shows what it printed, and the console when it failed.
 *
 * ```
 * deno run -A tests/support/vm/try.ts 'uname -r; mount'
 * deno run -A tests/support/vm/try.ts --test tests/kernel/images_test.ts 'every image shows'
 * ```
 * The second form runs a test file of the repository, or those of its tests that the filter names. The kernel is that of
 * `NYDUS_GD_VM_KERNEL`; the environment of the tests can be given as `NAME=VALUE` before `--test`.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import { makeDisk } from "./disk.ts";
import { denoScript, TEST_OPTIONS } from "./guest_deno.ts";
import { VirtualMachine } from "./virtual_machine.ts";
import { DATA_DISK, KERNEL } from "./vm_test.ts";

const WATCHDOG_MS = 20 * 60_000;

function scriptOf(args: readonly string[]): string {
  const at = args.indexOf("--test");
  if (at < 0) return args.join(" ");
  const env = args.slice(0, at).map((word) => word.split("=")).map(([name, ...value]) => [name, value.join("=")]);
  const [file = "", filter] = args.slice(at + 1);
  const filters = filter === undefined ? [] : ["--filter", filter];
  return denoScript(["test", ...TEST_OPTIONS, ...filters, file], Object.fromEntries(env));
}

using temp = TempDir.make();
const disks = [await makeDisk(temp.join("disk"), DATA_DISK)];
await using vm = await VirtualMachine.start({ kernel: KERNEL, disks, watchdogMs: WATCHDOG_MS });
const { code, stdout, stderr } = await vm.run(scriptOf(Deno.args));
console.log(stdout);
console.error(stderr);
if (code !== 0) console.error(await vm.console());
Deno.exitCode = code;
