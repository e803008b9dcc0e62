/**
 * Test files of the repository that run in one virtual machine, one after the other.
 *
 * @module
 */
import { TempDir } from "../temp_dir.ts";
import { type GuestTests, testInMachine } from "./guest_deno.ts";
import { bundleForGuest } from "./guest_program.ts";
import { vmTest } from "./vm_test.ts";

/** What they have in common. */
export interface GuestOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds after which the machine is ended. */
  readonly watchdogMs: number;
}

/** A test whose steps are theirs. The program that they start is the one bundle of all. */
export function guestTest(name: string, files: readonly GuestTests[], { env, watchdogMs }: GuestOptions): void {
  vmTest(name, async (start, t) => {
    using program = TempDir.make();
    const settings = { NYDUS_GD_TEST_PROGRAM: await bundleForGuest(program.path), ...env };
    await using vm = await start({ watchdogMs });
    for (const tests of files) await testInMachine(vm, t, { ...tests, env: settings });
  });
}
