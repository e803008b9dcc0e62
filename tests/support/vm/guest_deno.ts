/**
 * Runs Deno in a virtual machine, with programs and test files of the repository.
 *
 * @module
 */
import assert from "node:assert/strict";
import { testCases } from "../../../scripts/junit.ts";
import { ignore } from "../../../lib/base/errors.ts";
import { shellWords } from "../process/shell_words.ts";
import { BUNDLE_OPTIONS, type GuestBundles } from "./guest_program.ts";
import type { VirtualMachine } from "./virtual_machine.ts";

/** No network, state on the disk at /data. */
const ENV = {
  CI: "true",
  DENO_DIR: "/data/deno",
  DENO_NO_UPDATE_CHECK: "1",
  /** Saves a third of the runtime's start on an emulated processor. */
  DENO_V8_FLAGS: "--no-verify-snapshot-checksum",
  NO_COLOR: "1",
  TMPDIR: "/data/tmp",
  XDG_CACHE_HOME: "/data/cache",
} as const;

/** A module to run, with its environment. */
export interface GuestModule {
  /** Bundles that include it. */
  readonly bundles: GuestBundles;
  /** Path in the repository. */
  readonly file: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Script for the machine that does `deno run` of a module. */
export function runScript(module: GuestModule, words: readonly string[]): string {
  return denoScript(module, ["run", "--allow-all"], words);
}

/** Script for the machine that does `deno test` of a module. */
export function testScript(module: GuestModule, options: readonly string[]): string {
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

/** Selects tests. */
export interface GuestTests {
  /** Path in the repository. */
  readonly file: string;
  /** Part of their names; default: all tests. */
  readonly filter?: string;
  /** In addition to the common environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Settings common to all tests. */
export type GuestSettings = Pick<GuestModule, "bundles" | "env">;

/** Runs tests in the machine; tests and their steps become steps of `t`. Skips are passed on. */
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
    // the report lists tests excluded by the filter as skipped
    const cases = testCases(await readReport(`${vm.exchange}/${report}`)).filter(({ name }) => name.includes(filter));
    for (const { name, isSkipped, failure } of cases) {
      await t.step({ name, ignore: isSkipped, fn: () => assert.equal(failure, undefined, `${failure}`) });
    }
    assert.ok(cases.length > 0, `no test was run: ${said}`);
    assert.equal(code, 0, said);
  });
}

/** Empty if Deno failed before it could write a report. */
async function readReport(path: string): Promise<string> {
  return await ignore(Deno.errors.NotFound, Deno.readTextFile(path)) ?? "";
}
