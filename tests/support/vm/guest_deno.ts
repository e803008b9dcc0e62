/**
 * Deno in a virtual machine: programs and test files of the repository, at the same paths as here.
 *
 * @module
 */
import assert from "node:assert/strict";
import { testCases } from "../../../scripts/junit.ts";
import { ignore } from "../../../lib/base/errors.ts";
import { shellWords } from "../shell_words.ts";
import type { VirtualMachine } from "./virtual_machine.ts";

const ROOT = decodeURIComponent(new URL("../../..", import.meta.url).pathname);

/** No network, state on the disk at /data. */
const ENV = {
  CI: "true",
  DENO_DIR: Deno.env.get("DENO_DIR") ?? "",
  DENO_NO_UPDATE_CHECK: "1",
  /** A third of what an emulated processor takes to start the runtime. */
  DENO_V8_FLAGS: "--no-verify-snapshot-checksum",
  NO_COLOR: "1",
  TMPDIR: "/data/tmp",
  XDG_CACHE_HOME: "/data/cache",
} as const;

/** A script for the machine that becomes `deno WORDS` in the repository. */
export function denoScript(words: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const settings = Object.entries({ ...ENV, ...env }).map(([name, value]) => `export ${name}=${shellWords([value])}`);
  const command = shellWords([Deno.execPath(), ...words]);
  return [`mkdir -p ${ENV.TMPDIR} ${ENV.XDG_CACHE_HOME}`, `cd ${shellWords([ROOT])}`, ...settings, `exec ${command}`]
    .join(
      "\n",
    );
}

/** How `deno run` runs in a machine. */
export const RUN_OPTIONS = ["--allow-all", "--no-check", "--cached-only"];
/** How `deno test` does. */
export const TEST_OPTIONS = [...RUN_OPTIONS, "--sanitize-ops"];

/** Which tests. */
export interface GuestTests {
  /** Path in the repository. */
  readonly file: string;
  /** Part of the names; all tests unless given. */
  readonly filter?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs tests in the machine, each and its parts as steps of `t`. What is skipped there is skipped here. */
export async function testInMachine(vm: VirtualMachine, t: Deno.TestContext, tests: GuestTests): Promise<void> {
  const { file, filter = "", env } = tests;
  const label = `${file} ${filter}`.trimEnd();
  await t.step(label, async (t) => {
    const report = `${crypto.randomUUID()}.xml`;
    const filters = filter === "" ? [] : ["--filter", filter];
    const words = ["test", ...TEST_OPTIONS, `--junit-path=/exchange/${report}`, ...filters, file];
    const { code, stdout, stderr } = await vm.run(denoScript(words, env));
    const said = `${stdout}\n${stderr}`;
    // the report has what the filter left out as skipped
    const cases = testCases(await readReport(`${vm.exchange}/${report}`)).filter(({ name }) => name.includes(filter));
    for (const { name, isSkipped, failure } of cases) {
      await t.step({ name, ignore: isSkipped, fn: () => assert.equal(failure, undefined, failure) });
    }
    assert.ok(cases.length > 0, `no test was run: ${said}`);
    assert.equal(code, 0, said);
  });
}

/** Nothing, where Deno did not come so far as to write one. */
async function readReport(path: string): Promise<string> {
  return await ignore(Deno.errors.NotFound, Deno.readTextFile(path)) ?? "";
}
