/**
 * Counts the tests of a JUnit report as `deno test --junit-path` writes it (Deno 2.9).
 *
 * Steps stand in the report as test cases "test > step" of their own. Only whole tests are counted, as a failed step
 * fails its test; a skipped step is listed, so that it does not go unseen.
 *
 * @module
 */

/** What a report says. */
export interface TestCount {
  passed: number;
  failed: number;
  /** "file: name" of each test that was not run. */
  skipped: string[];
}

/** Counts the cases of a report; an empty report has none. */
export function countTests(xml: string): TestCount {
  const cases = [...xml.matchAll(/<testcase name="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)]
    .map(([, name = "", file = "", outcome = ""]) => ({ name: unescape(name), file: unescape(file), outcome }));
  const tests = new Set(cases.map(({ file, name }) => `${file}\0${name}`));
  const count: TestCount = { passed: 0, failed: 0, skipped: [] };
  for (const { name, file, outcome } of cases) {
    if (/<skipped\b/.test(outcome)) count.skipped.push(`${file.replace(/^\.\//, "")}: ${name}`);
    else if (isStep(tests, file, name)) continue;
    else if (/<(failure|error)\b/.test(outcome)) count.failed++;
    else count.passed++;
  }
  return count;
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
