/**
 * A virtual machine by hand: runs a script in one, shows what it printed, and the console when it failed.
 *
 * ```
 * deno run -A tests/support/vm/try.ts 'uname -r; mount'
 * deno run -A tests/support/vm/try.ts --test tests/kernel/images_test.ts 'every image shows'
 * deno run -A tests/support/vm/try.ts --run tests/vm/guest/read_ratios.ts
 * ```
 * The second form runs a test file of the repository, or those of its tests that the filter names, the third a program.
 * The kernel is that of `NYDUS_GD_VM_KERNEL`; their environment can be given as `NAME=VALUE` before the option.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import { makeDisk } from "./disk.ts";
import { denoScript, RUN_OPTIONS, TEST_OPTIONS } from "./guest_deno.ts";
import { bundleForGuest } from "./guest_program.ts";
import { VirtualMachine } from "./virtual_machine.ts";
import { DATA_DISK, KERNEL } from "./vm_test.ts";

const WATCHDOG_MS = 20 * 60_000;

function scriptOf(args: readonly string[], program: string): string {
  const at = args.findIndex((word) => word === "--test" || word === "--run");
  if (at < 0) return `export NYDUS_GD_TEST_PROGRAM='${program}'\n${args.join(" ")}`;
  const env = args.slice(0, at).map((word) => word.split("=")).map(([name, ...value]) => [name, value.join("=")]);
  const settings = { NYDUS_GD_TEST_PROGRAM: program, ...Object.fromEntries(env) };
  const [file = "", ...words] = args.slice(at + 1);
  if (args[at] === "--run") return denoScript(["run", ...RUN_OPTIONS, file, ...words], settings);
  const filters = words.flatMap((word) => ["--filter", word]);
  return denoScript(["test", ...TEST_OPTIONS, ...filters, file], settings);
}

using temp = TempDir.make();
const disks = [await makeDisk(temp.join("disk"), DATA_DISK)];
const program = await bundleForGuest(temp.join("program"));
await using vm = await VirtualMachine.start({ kernel: KERNEL, disks, watchdogMs: WATCHDOG_MS });
const { code, stdout, stderr } = await vm.run(scriptOf(Deno.args, program));
console.log(stdout);
console.error(stderr);
if (code !== 0) console.error(await vm.console());
Deno.exitCode = code;
