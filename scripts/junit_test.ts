import assert from "node:assert/strict";
import { countTests, testCases } from "./junit.ts";

const testcase = (name: string, outcome = "") =>
  `<testcase name="${name}" classname="./a_test.ts" time="0.0" line="1" col="1">\n${outcome}</testcase>\n`;

Deno.test("whole tests are counted, their steps are not", () => {
  const xml = testcase("passes &amp; &lt;x&gt;") + testcase("passes &amp; &lt;x&gt; &gt; inner") +
    testcase("fails", '<failure message="x">Error: &lt;testcase&gt;</failure>') +
    testcase("step fails", '<failure message="1 test step failed"></failure>') +
    testcase("step fails &gt; bad", "<failure></failure>") + testcase("a &gt; b is no step");
  assert.deepEqual(countTests(xml), { passed: 2, failed: 2, skipped: [] });
});

Deno.test("skipped tests and steps are listed by file and name", () => {
  const xml = testcase("old kernel", "<skipped/>") + testcase("t") + testcase("t &gt; &quot;s&quot;", "<skipped/>");
  assert.deepEqual(countTests(xml), { passed: 1, failed: 0, skipped: ["a_test.ts: old kernel", 'a_test.ts: t > "s"'] });
});

Deno.test("an empty report has no tests", () => {
  assert.deepEqual(countTests(""), { passed: 0, failed: 0, skipped: [] });
});

Deno.test("a failed case contains its error", () => {
  const xml = testcase("good") + testcase("bad", '<failure message="short">Error: 1 &lt; 0\n  at x</failure>') +
    testcase("terse", '<failure message="1 test step failed"></failure>') + testcase("old", "<skipped/>");
  const cases = testCases(xml).map(({ name, isSkipped, failure }) => [name, isSkipped, failure]);
  assert.deepEqual(cases, [
    ["good", false, undefined],
    ["bad", false, "Error: 1 < 0\n  at x"],
    ["terse", false, "1 test step failed"],
    ["old", true, undefined],
  ]);
});
