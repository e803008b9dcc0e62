/**
 * Tests that need root: they mount, or set owners and device nodes.
 *
 * @module
 */
import { geteuid } from "../../ffi/unistd.ts";

/** Whether this process may mount. */
export const isRoot = geteuid() === 0;
console.log(`kernel ${Deno.osRelease()}${isRoot ? "" : "; tests that need root are skipped"}`);

/** A test that is skipped without root. */
export function rootTest(name: string, fn: (t: Deno.TestContext) => void | Promise<void>): void {
  Deno.test({ name, ignore: !isRoot, fn });
}
