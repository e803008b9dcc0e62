/**
 * Test files of the repository that run in one virtual machine, one after the other.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import type { DiskOptions } from "./disk.ts";
import { type GuestTests, testInMachine } from "./guest_deno.ts";
import { GuestBundles } from "./guest_program.ts";
import { vmTest } from "./vm_test.ts";

/** What they have in common. */
export interface GuestOptions {
  /** Beside what the files have of their own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Beside the one on /data. */
  readonly disks?: readonly DiskOptions[];
  /** Milliseconds after which the machine is ended. */
  readonly watchdogMs: number;
}

/** A test whose steps are theirs. A file may be there more than once, with another environment or filter. */
export function guestTest(name: string, files: readonly GuestTests[], options: GuestOptions): void {
  const { env = {}, disks, watchdogMs } = options;
  vmTest(name, async (start, t) => {
    using temp = TempDir.make();
    const bundles = await GuestBundles.make(temp.path, new Set(files.map(({ file }) => file)));
    await using vm = await start({ watchdogMs });
    for (const tests of files) await testInMachine(vm, t, tests, { bundles, env });
  }, disks);
}
