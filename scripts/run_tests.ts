/**
 * Runs the checks and the tests, and counts: the work of scripts/test.sh.
 *
 * ```
 * deno run -A scripts/run_tests.ts [unit|kernel|e2e|conformance|vm|stress|KERNEL]…
 * ```
 * KERNEL is that of virtual machines, such as 6.1.
 *
 * format, lint, type check ──► one `deno test` per group, counted from its JUnit report ──► what was left behind.
 *
 * Counts as failed: a check that fails, a test that fails, a group that crashes or runs out of time, a skip that
 * tests/known_skips.txt does not allow, and every mount, process, loop device or file outside the scratch folder that is
 * there afterwards and was not before. The summary goes to `$TEST_SCRATCH/summary`, for scripts/test.sh to show last.
 *
 * @module
 */
import { join } from "node:path";
import { ignore } from "../lib/base/errors.ts";
import { countTests, type TestCount } from "./junit.ts";
import { Residue } from "./residue.ts";

const ROOT = new URL("..", import.meta.url).pathname;

interface Group {
  /** Folders searched for *_test.ts. */
  readonly folders: readonly string[];
  /** Run test files in parallel: only if they share nothing. */
  readonly parallel: boolean;
  /** Time limit of the group on two cores, which is longer by {@link PATIENCE} if the group was requested by name. */
  readonly timeoutMs: number;
}

const MINUTE_MS = 60_000;

/** Somebody waits for the groups that were requested by name, perhaps on a slow or a busy machine. */
const PATIENCE = 3;

const GROUPS = {
  unit: { folders: ["ffi", "lib", "plugin", "scripts", "tests/lint"], parallel: true, timeoutMs: 10 * MINUTE_MS },
  kernel: { folders: ["tests/kernel"], parallel: false, timeoutMs: 30 * MINUTE_MS },
  e2e: { folders: ["tests/e2e"], parallel: false, timeoutMs: 30 * MINUTE_MS },
  conformance: { folders: ["tests/conformance"], parallel: false, timeoutMs: 30 * MINUTE_MS },
  vm: { folders: ["tests/vm"], parallel: true, timeoutMs: 30 * MINUTE_MS },
  stress: { folders: ["tests/stress"], parallel: false, timeoutMs: 75 * MINUTE_MS },
} as const satisfies Record<string, Group>;

type GroupName = keyof typeof GROUPS;

const CHECKS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ["format", ["fmt", "--quiet", "--check"]],
  ["lint", ["lint", "--quiet"]],
  ["type check", ["check", "--quiet", "."]],
];

/** Additional work of a group that was requested by name, such as inputs per parser. A run of all tests does less. */
const THOROUGH: Readonly<Partial<Record<GroupName, Readonly<Record<string, string>>>>> = {
  vm: { NYDUS_GD_VM_THOROUGH: "1" },
  stress: { FUZZ_INPUTS: "1000000", NYDUS_GD_TAKEOVER_ROUNDS: "300", NYDUS_GD_IMAGES: "100" },
};

/** A kernel for virtual machines. */
const KERNEL = /^\d+\.\d+$/;

/** Problems in order of occurrence. */
const problems: string[] = [];
const total: TestCount = { passed: 0, failed: 0, skipped: [] };

async function main(args: readonly string[], scratch: string): Promise<number> {
  const names = args.filter((name) => !KERNEL.test(name));
  const kernel = args.find((name) => KERNEL.test(name));
  if (kernel !== undefined) Deno.env.set("NYDUS_GD_VM_KERNEL", kernel);
  const groups = chooseGroups(names);
  if (names.length > 0) {
    const settings = groups.flatMap((name) => Object.entries(THOROUGH[name] ?? {}));
    for (const [name, value] of settings) if (!Deno.env.get(name)) Deno.env.set(name, value);
  }
  const residue = await Residue.before(scratch);
  for (const [name, args] of CHECKS) await check(name, args);
  for (const name of groups) await runGroup(name, join(scratch, `${name}.xml`), names.length > 0);
  problems.push(...await residue.after());
  await judgeSkips();
  for (const problem of problems) console.error(`FAILED: ${problem}`);
  const failed = total.failed + problems.length;
  const summary = `${total.passed} passed, ${failed} failed, ${total.skipped.length} skipped`;
  await Deno.writeTextFile(join(scratch, "summary"), `${summary}\n`);
  return failed === 0 ? 0 : 1;
}

function chooseGroups(names: readonly string[]): GroupName[] {
  const known = Object.keys(GROUPS) as GroupName[];
  for (const name of names) {
    if (!(known as string[]).includes(name)) {
      throw new Error(`Cannot run tests "${name}": not one of ${known.join(", ")}`);
    }
  }
  return names.length === 0 ? known : known.filter((name) => names.includes(name));
}

async function check(name: string, args: readonly string[]): Promise<void> {
  heading(name);
  const { success } = await deno(args, 10 * MINUTE_MS);
  if (!success) problems.push(`${name}: deno ${args.join(" ")}`);
}

async function runGroup(name: GroupName, report: string, named: boolean): Promise<void> {
  const group: Group = GROUPS[name];
  const files: string[] = [];
  for (const folder of group.folders) for await (const file of testFiles(folder)) files.push(file);
  if (files.length === 0) {
    if (named) problems.push(`${name}: there are no tests`);
    return;
  }
  heading(`${name} tests`);
  // Not --sanitize-resources: libraries opened by ffi/ stay open and would count as leaks.
  const options = ["--allow-all", "--no-check", "--sanitize-ops", `--junit-path=${report}`];
  if (group.parallel) options.push("--parallel", "--reporter=dot");
  const { success, ending } = await deno(
    ["test", ...options, ...files.sort()],
    group.timeoutMs * (named ? PATIENCE : 1),
  );
  const count = countTests(await readReport(report));
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped.push(...count.skipped);
  // No test case reports a crash, a module that cannot be loaded, or an error outside of tests.
  if (!success && count.failed === 0) problems.push(`${name} tests: deno test ${ending}`);
}

async function readReport(path: string): Promise<string> {
  return await ignore(Deno.errors.NotFound, Deno.readTextFile(path)) ?? "";
}

async function* testFiles(folder: string): AsyncGenerator<string> {
  try {
    for await (const entry of Deno.readDir(join(ROOT, folder))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory) yield* testFiles(path);
      else if (entry.name.endsWith("_test.ts")) yield path;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function deno(
  args: readonly string[],
  timeoutMs: number,
): Promise<{ success: boolean; ending: string }> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const child = new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT, stdin: "null", signal: timeout });
  const { success, code, signal } = await child.spawn().status;
  const ending = timeout.aborted
    ? `took longer than ${timeoutMs / MINUTE_MS} minutes`
    : signal !== null
    ? `was ended by ${signal}`
    : `exited ${code}`;
  return { success: success && !timeout.aborted, ending };
}

/** Every skip needs a line in tests/known_skips.txt. */
async function judgeSkips(): Promise<void> {
  const text = await Deno.readTextFile(join(ROOT, "tests/known_skips.txt"));
  const known = text.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => new RegExp(`^${line.split("*").map(RegExp.escape).join(".*")}$`));
  for (const skip of total.skipped) {
    if (known.some((pattern) => pattern.test(skip))) console.error(`skipped: ${skip}`);
    else problems.push(`skipped, and not in tests/known_skips.txt: ${skip}`);
  }
}

function heading(text: string): void {
  console.error(`\n== ${text}`);
}

const scratch = Deno.env.get("TEST_SCRATCH");
if (scratch === undefined) {
  console.error("Cannot run tests: TEST_SCRATCH is not set\nhint: sh scripts/test.sh");
  Deno.exit(2);
}
try {
  Deno.exit(await main(Deno.args, scratch));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await Deno.writeTextFile(join(scratch, "summary"), "0 passed, 1 failed, 0 skipped\n");
  Deno.exit(2);
}
