/**
 * Test files of the repository that run one after the other in one virtual machine.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import type { DiskOptions } from "./disk.ts";
import { type GuestTests, testInMachine } from "./guest_deno.ts";
import { GuestBundles } from "./guest_program.ts";
import { vmTest } from "./vm_test.ts";

/** Options common to all files. */
export interface GuestOptions {
  /** In addition to each file's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** In addition to the one on /data. */
  readonly disks?: readonly DiskOptions[];
  /** Milliseconds after which the machine is terminated. */
  readonly watchdogMs: number;
}

/**
 * A test whose steps are the tests of the files. A file may be listed repeatedly with different environments or
 * filters.
 */
export function guestTest(name: string, files: readonly GuestTests[], options: GuestOptions): void {
  const { env = {}, disks, watchdogMs } = options;
  vmTest(name, async (start, t) => {
    using temp = TempDir.make();
    const bundles = await GuestBundles.make(temp.path, new Set(files.map(({ file }) => file)));
    await using vm = await start({ watchdogMs });
    for (const tests of files) await testInMachine(vm, t, tests, { bundles, env });
  }, disks);
}
