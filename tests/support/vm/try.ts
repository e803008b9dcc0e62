/**
 * Runs a script in a virtual machine by hand and prints its output, and the console if it fails.
 *
 * ```
 * deno run -A tests/support/vm/try.ts 'uname -r; mount'
 * deno run -A tests/support/vm/try.ts --test tests/kernel/images_test.ts 'every image shows'
 * deno run -A tests/support/vm/try.ts --run tests/vm/guest/read_ratios.ts
 * ```
 * The second form runs a test file of the repository, optionally only the tests that match a filter; the third runs a
 * program. `NYDUS_GD_VM_KERNEL` selects the kernel. Environment variables can be given as `NAME=VALUE` before the option.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import { makeDisk } from "./disk.ts";
import { type GuestModule, runScript, testScript } from "./guest_deno.ts";
import { GuestBundles } from "./guest_program.ts";
import { VirtualMachine } from "./virtual_machine.ts";
import { DATA_DISK, KERNEL } from "./vm_test.ts";

const WATCHDOG_MS = 20 * 60_000;

/** Returns the shell script for the arguments; modules that it runs are bundled into `dir`. */
async function scriptOf(args: readonly string[], dir: string): Promise<string> {
  const at = args.findIndex((word) => word === "--test" || word === "--run");
  if (at < 0) return args.join(" ");
  const pairs = args.slice(0, at).map((word) => word.split("=")).map(([name, ...value]) => [name, value.join("=")]);
  const [file = "", ...words] = args.slice(at + 1);
  const module: GuestModule = {
    bundles: await GuestBundles.make(dir, [file]),
    file,
    env: Object.fromEntries(pairs),
  };
  if (args[at] === "--run") return runScript(module, words);
  return testScript(module, words.flatMap((word) => ["--filter", word]));
}

using temp = TempDir.make();
const disks = [await makeDisk(temp.join("disk"), DATA_DISK)];
const script = await scriptOf(Deno.args, temp.join("bundles"));
await using vm = await VirtualMachine.start({ kernel: KERNEL, disks, watchdogMs: WATCHDOG_MS });
const { code, stdout, stderr } = await vm.run(script);
console.log(stdout);
console.error(stderr);
if (code !== 0) console.error(await vm.console());
Deno.exitCode = code;
