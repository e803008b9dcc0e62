import assert from "node:assert/strict";
import { basename } from "node:path/posix";
import { readSource, sourceFiles } from "./sources.ts";

/** Files that may be long. */
const LENGTH_EXEMPT = /^(LICENSE|deno\.lock)$|\.md$/;
const MAX_LINES = 400;

/** Absolute paths in private folders, and host names specific to one package registry. */
const MACHINE_PATHS = /(?<![\w./}-])\/(?:work|workspace|Users|home\/[a-z]\w*)\/\w/;
const REGISTRY_HOSTS = new RegExp(
  ["npmjs", "yarnpkg", "npmmirror"].map((name) => `\\b${name}\\.(org|com)\\b`).join("|"),
);

Deno.test("no file exceeds the maximum length", async () => {
  const long: string[] = [];
  for (const path of await sourceFiles()) {
    if (LENGTH_EXEMPT.test(path)) continue;
    const lines = (await readSource(path)).split("\n").length - 1;
    if (lines > MAX_LINES) long.push(`${path}: ${lines} lines, at most ${MAX_LINES}`);
  }
  assert.deepEqual(long, []);
});

Deno.test("no file names a folder of one machine, or a package registry", async () => {
  const offences: string[] = [];
  for (const path of await sourceFiles()) {
    if (path === "tests/lint/repository_test.ts") continue;
    for (const [index, line] of (await readSource(path)).split("\n").entries()) {
      const found = line.match(MACHINE_PATHS) ?? line.match(REGISTRY_HOSTS);
      if (found !== null) offences.push(`${path}:${index + 1}: ${found[0]}`);
    }
  }
  assert.deepEqual(offences, []);
});

Deno.test("the patterns match as intended", () => {
  for (const text of [`"/${"work"}/main"`, "see /home/joe/x", "(/Users/x)"]) assert.match(text, MACHINE_PATHS);
  for (const text of ["/var/lib/work/x", "overlay/work/inodes", "${id}/work/x", "/workdir/x"]) {
    assert.doesNotMatch(text, MACHINE_PATHS);
  }
  assert.match(`https://registry.${"npmjs"}.org/x`, REGISTRY_HOSTS);
});

Deno.test("Worker modules have unique names, as a build puts them into one folder", async () => {
  const names = (await sourceFiles()).filter((path) => /_worker\.ts$/.test(path)).map((path) => basename(path));
  assert.deepEqual(names, [...new Set(names)]);
});

Deno.test("files are named in snake case", async () => {
  const odd = (await sourceFiles()).filter((path) => path.endsWith(".ts") && !/^[a-z0-9_]+\.ts$/.test(basename(path)));
  assert.deepEqual(odd, []);
});

Deno.test("the filters of tests in virtual machines match a test of their file", async () => {
  const offences: string[] = [];
  let count = 0;
  for (const path of (await sourceFiles()).filter((path) => path.startsWith("tests/vm/"))) {
    for (
      const [, file = "", filter = ""] of (await readSource(path)).matchAll(/file: "([^"]+)",\s+filter: "([^"]+)"/g)
    ) {
      count++;
      if (!(await readSource(file)).includes(filter)) offences.push(`${path}: ${file} has no test "${filter}"`);
    }
  }
  assert.ok(count > 0);
  assert.deepEqual(offences, []);
});
