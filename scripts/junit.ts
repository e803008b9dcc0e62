/**
 * Counts the tests of a JUnit report as `deno test --junit-path` writes it (Deno 2.9).
 *
 * Steps stand in the report as test cases "test > step" of their own. Only whole tests are counted, as a failed step
 * fails its test; a skipped step is listed, so that it does not go unseen.
 *
 * @module
 */

/** Totals of a report. */
export interface TestCount {
  passed: number;
  failed: number;
  /** "file: name" of each skipped test. */
  skipped: string[];
}

/** One case of a report. */
export interface TestCase {
  readonly file: string;
  readonly name: string;
  /** Whether it is a step of another case. */
  readonly isStep: boolean;
  readonly isSkipped: boolean;
  /** The failure; undefined if it passed. */
  readonly failure: string | undefined;
}

/** The cases of a report, in order; empty for an empty report. */
export function testCases(xml: string): TestCase[] {
  const cases = [...xml.matchAll(/<testcase name="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)]
    .map(([, name = "", file = "", outcome = ""]) => ({ name: unescape(name), file: unescape(file), outcome }));
  const tests = new Set(cases.map(({ file, name }) => `${file}\0${name}`));
  return cases.map(({ name, file, outcome }) => ({
    file: file.replace(/^\.\//, ""),
    name,
    isStep: isStep(tests, file, name),
    isSkipped: /<skipped\b/.test(outcome),
    failure: failureOf(outcome),
  }));
}

/** Counts the cases of a report. */
export function countTests(xml: string): TestCount {
  const count: TestCount = { passed: 0, failed: 0, skipped: [] };
  for (const { file, name, isStep, isSkipped, failure } of testCases(xml)) {
    if (isSkipped) count.skipped.push(`${file}: ${name}`);
    else if (isStep) continue;
    else if (failure !== undefined) count.failed++;
    else count.passed++;
  }
  return count;
}

function failureOf(outcome: string): string | undefined {
  const found = /<(?:failure|error)\b([^>]*)>([^<]*)/.exec(outcome);
  if (found === null) return undefined;
  const [, attributes = "", text = ""] = found;
  return unescape(text.trim() || (/message="([^"]*)"/.exec(attributes)?.[1] ?? ""));
}

function isStep(tests: ReadonlySet<string>, file: string, name: string): boolean {
  for (let at = name.indexOf(" > "); at >= 0; at = name.indexOf(" > ", at + 1)) {
    if (tests.has(`${file}\0${name.slice(0, at)}`)) return true;
  }
  return false;
}

function unescape(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return named[name] ?? whole;
  });
}
