/**
 * Deno in a virtual machine: programs and test files of the repository.
 *
 * @module
 */
import assert from "node:assert/strict";
import { testCases } from "../../../scripts/junit.ts";
import { ignore } from "../../../lib/base/errors.ts";
import { shellWords } from "../shell_words.ts";
import { BUNDLE_OPTIONS, type GuestBundles } from "./guest_program.ts";
import type { VirtualMachine } from "./virtual_machine.ts";

/** No network, state on the disk at /data. */
const ENV = {
  CI: "true",
  DENO_DIR: "/data/deno",
  DENO_NO_UPDATE_CHECK: "1",
  /** A third of what an emulated processor takes to start the runtime. */
  DENO_V8_FLAGS: "--no-verify-snapshot-checksum",
  NO_COLOR: "1",
  TMPDIR: "/data/tmp",
  XDG_CACHE_HOME: "/data/cache",
} as const;

/** Which module runs, and how. */
export interface GuestModule {
  /** Of which it is one. */
  readonly bundles: GuestBundles;
  /** Path in the repository. */
  readonly file: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A script for the machine that becomes `deno run` of a module. */
export function runScript(module: GuestModule, words: readonly string[] = []): string {
  return denoScript(module, ["run", "--allow-all"], words);
}

/** One that becomes `deno test` of it. */
export function testScript(module: GuestModule, options: readonly string[] = []): string {
  return denoScript(module, ["test", "--allow-all", "--sanitize-ops", ...options], []);
}

function denoScript(
  { bundles, file, env }: GuestModule,
  verb: readonly string[],
  words: readonly string[],
): string {
  const variables = Object.entries({ ...ENV, ...bundles.env, ...env });
  const settings = variables.map(([name, value]) => `export ${name}=${shellWords([value])}`);
  const command = shellWords([Deno.execPath(), ...verb, ...BUNDLE_OPTIONS, bundles.pathOf(file), ...words]);
  return [`mkdir -p ${ENV.TMPDIR} ${ENV.XDG_CACHE_HOME}`, ...settings, `exec ${command}`].join("\n");
}

/** Which tests. */
export interface GuestTests {
  /** Path in the repository. */
  readonly file: string;
  /** Part of the names; all tests unless given. */
  readonly filter?: string;
  /** On top of what they have in common with others. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What they have in common. */
export type GuestSettings = Pick<GuestModule, "bundles" | "env">;

/** Runs tests in the machine, each and its parts as steps of `t`. What is skipped there is skipped here. */
export async function testInMachine(
  vm: VirtualMachine,
  t: Deno.TestContext,
  { file, filter = "", env = {} }: GuestTests,
  settings: GuestSettings,
): Promise<void> {
  const own = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const label = [...own, file, filter].join(" ").trimEnd();
  await t.step(label, async (t) => {
    const report = `${crypto.randomUUID()}.xml`;
    const filters = filter === "" ? [] : ["--filter", filter];
    const options = [`--junit-path=/exchange/${report}`, ...filters];
    const script = testScript({ ...settings, file, env: { ...settings.env, ...env } }, options);
    const { code, stdout, stderr } = await vm.run(script);
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
