import assert from "node:assert/strict";
import fc from "fast-check";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { unifiedDiff } from "./unified_diff.ts";

Deno.test("changes are shown in hunks with context", () => {
  const before = Array.from({ length: 20 }, (_, k) => `${k + 1}\n`).join("");
  const after = before.replace("4\n", "four\n").replace("\n18\n", "\n18\nnew\n");
  assert.equal(
    unifiedDiff(["f", "f"], before, after),
    `--- f
+++ f
@@ -1,7 +1,7 @@
 1
 2
 3
-4
+four
 5
 6
 7
@@ -16,5 +16,6 @@
 16
 17
 18
+new
 19
 20
`,
  );
});

Deno.test("new files, removed files and missing newlines at the end are shown", () => {
  assert.equal(unifiedDiff(["/dev/null", "f"], "", "a\nb\n"), "--- /dev/null\n+++ f\n@@ -0,0 +1,2 @@\n+a\n+b\n");
  assert.equal(unifiedDiff(["f", "/dev/null"], "a\n", ""), "--- f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
  const noEnd = "\\ No newline at end of file\n";
  assert.equal(unifiedDiff(["f", "f"], "a", "a\n"), `--- f\n+++ f\n@@ -1,1 +1,1 @@\n-a\n${noEnd}+a\n`);
  assert.equal(unifiedDiff(["f", "f"], "a\n", "a\n"), "");
});

Deno.test("patch(1) applies the diff to get the other text", async () => {
  const text = fc.array(fc.constantFrom("a\n", "b\n", "c\n", "d"), { maxLength: 12 }).map((lines) => lines.join(""));
  using temp = TempDir.make();
  await fc.assert(
    fc.asyncProperty(text, text, async (before, after) => {
      fc.pre(before !== "" && after !== "" && before !== after);
      const path = temp.join("file");
      await Deno.writeTextFile(path, before);
      await Deno.writeTextFile(temp.join("diff"), unifiedDiff(["file", "file"], before, after));
      const args = ["--silent", "--input", temp.join("diff"), path];
      assert.equal((await new Deno.Command("patch", { args }).output()).code, 0);
      assert.equal(await Deno.readTextFile(path), after);
    }),
    { numRuns: 25 },
  );
});
