import assert from "node:assert/strict";
import {
  circlesIn,
  COMPONENTS,
  FOLDERS,
  importsOf,
  offencesOf,
  showOffence,
  SUPPORT,
  TOP_COMPONENTS,
} from "./layering.ts";
import { readSource, sourceFiles } from "./sources.ts";

Deno.test("every module imports only components listed before its own", async () => {
  const files = (await sourceFiles()).filter((path) => path.endsWith(".ts"));
  assert.ok(files.includes("main.ts") && files.includes("ffi/libc.ts"));
  const offences: string[] = [];
  for (const path of files) offences.push(...offencesOf(path, await readSource(path)).map(showOffence));
  assert.deepEqual(offences, []);
});

Deno.test("the tables of the design have every component and folder, in the order of the rule", async () => {
  const text = await readSource("docs/design.md");
  const components = [...text.matchAll(/^\| `([\w/]+)\/`/gm)].map(([, name]) => name);
  assert.deepEqual(components, [...COMPONENTS, ...TOP_COMPONENTS]);
  const described = foldersIn(text);
  const present = new Set(
    (await sourceFiles()).flatMap((path) => [
      ...(/^((?:lib\/)?\w+\/\w+)\/.*\.ts$/.exec(path)?.slice(1) ?? []),
      ...(/^(lib\/image\/(?:convert|lazy)\/\w+)\/.*\.ts$/.exec(path)?.slice(1) ?? []),
    ]),
  );
  const isInComponent = (folder: string) => components.some((component) => folder.startsWith(`${component}/`));
  assert.deepEqual([...described.values()].flat().sort(), [...present].filter(isInComponent).sort());
  for (const [component, folders] of Object.entries(FOLDERS)) {
    if (component === SUPPORT) continue;
    const inOrder = folders.filter((folder) => folder !== "").map((folder) => `${component}/${folder}`);
    assert.deepEqual(described.get(component), inOrder);
  }
});

Deno.test("the table of the tests' support has its folders, in the order of the rule", async () => {
  const [, table = ""] = (await readSource("CONTRIBUTING.md")).split(/^\| folder +\| to test .*$/m);
  const described = [...table.matchAll(/^\| `(\w+)` +\|/gm)].map(([, name]) => name);
  const present = (await sourceFiles()).flatMap((path) => /^tests\/support\/(\w+)\//.exec(path)?.slice(1) ?? []);
  assert.deepEqual(described, FOLDERS[SUPPORT]?.filter((folder) => folder !== ""));
  assert.deepEqual([...described].sort(), [...new Set(present)].sort());
});

/** The folders of components that a table describes, by component; a row without one continues that above. */
function foldersIn(text: string): Map<string, string[]> {
  const folders = new Map<string, string[]>();
  let component = "";
  for (const [, first = "", second = ""] of text.matchAll(/^\| +(?:`([\w/]+\w)`)? +\| (`\w+`(?:, `\w+`)*) +\|/gm)) {
    if (first !== "") component = first;
    const names = [...second.matchAll(/`(\w+)`/g)].map(([, name]) => `${component}/${name}`);
    folders.set(component, [...folders.get(component) ?? [], ...names]);
  }
  return folders;
}

Deno.test("no module imports itself by way of others", async () => {
  const imports = new Map<string, string[]>();
  for (const path of await sourceFiles()) {
    if (path.endsWith(".ts")) imports.set(path, importsOf(path, await readSource(path)));
  }
  assert.ok(imports.get("main.ts")?.includes("lib/cli/program.ts"));
  assert.deepEqual(circlesIn(imports), []);
});

Deno.test("circles of imports are found, also of types", () => {
  const imports = new Map([
    ["a/x.ts", importsOf("a/x.ts", 'import type { Y } from "../b/y.ts";')],
    ["b/y.ts", importsOf("b/y.ts", 'import "../c.ts"; export { d } from "./z.ts";')],
    ["b/z.ts", importsOf("b/z.ts", 'await import("../a/x.ts"); import "node:fs";')],
    ["c.ts", importsOf("c.ts", 'import "./b/z.ts"; import "./c.ts";')],
  ]);
  assert.deepEqual(circlesIn(imports), [
    "a/x.ts > b/y.ts > c.ts > b/z.ts > a/x.ts",
    "c.ts > c.ts",
  ]);
});

Deno.test("an offence is reported with its line and import", () => {
  const source = `/** import "../../plugin/x.ts" in a comment is none */
import type { A } from "../rafs/a.ts";
export { b } from "../layer/b.ts";
const text = 'import "../layer/c.ts"';
`;
  assert.deepEqual(offencesOf("lib/blob/x.ts", source).map(showOffence), [
    "lib/blob/x.ts:3: imports lib/layer/b.ts, but lib/layer does not come before lib/blob",
  ]);
});

Deno.test("offences in any form of import are found", () => {
  const offending: [path: string, source: string, reason: string][] = [
    ["lib/base/x.ts", 'import "../blob/y.ts";', "lib/blob does not come before lib/base"],
    ["lib/layer/x.ts", 'await import("../../plugin/docker/y.ts");', "plugin does not come before lib/layer"],
    ["lib/layer/x.ts", "await import(`../cli/y.ts`);", "lib/cli does not come before lib/layer"],
    ["lib/layer/x.ts", "await import(name);", "imports a computed specifier"],
    ["lib/layer/x.ts", 'type T = import("../image/y.ts").T;', "lib/image does not come before lib/layer"],
    ["lib/layer/x.ts", 'export * from "../image/y.ts";', "lib/image does not come before lib/layer"],
    ["lib/cli/x.ts", 'import "../../plugin/y.ts";', "plugin does not come before lib/cli"],
    ["plugin/docker/x.ts", 'import "../../lib/cli/y.ts";', "lib/cli does not come before plugin"],
    ["plugin/docker/x.ts", 'import "../../main.ts";', "not for components to import"],
    ["lib/blob/x.ts", 'import "../../tests/support/y.ts";', "not for components to import"],
    ["lib/blob/cache/x.ts", 'import "../fetch/y.ts";', "does not come before lib/blob/cache"],
    ["lib/blob/fetch/x.ts", 'import "../y.ts";', "does not come before lib/blob/fetch"],
    ["lib/mount/erofs/x.ts", 'import "../fanotify/y.ts";', "does not come before lib/mount/erofs"],
    ["lib/image/convert/chunks/x.ts", 'import "../run/y.ts";', "does not come before lib/image/convert/chunks"],
    ["lib/image/convert/run/x.ts", 'import "../y.ts";', "does not come before lib/image/convert/run"],
    ["lib/image/convert/run/x.ts", 'import "../../gc/y.ts";', "does not come before lib/image/convert"],
    ["lib/image/lazy/y.ts", 'import "../pull/y.ts";', "does not come before lib/image/lazy"],
    ["lib/blob/x.ts", 'import "./y_test.ts";', "not for components to import"],
    ["lib/blob/x.ts", 'import "../../deno.json" with { type: "json" };', "not for components to import"],
    ["lib/blob/x.ts", 'import "npm:hono@4";', "expected a bare name"],
    ["lib/blob/x.ts", 'import "commander";', "belongs to lib/cli"],
    ["lib/blob/x.ts", 'import "fast-check";', "belongs to tests"],
    ["lib/blob/x.ts", 'workerUrl(import.meta, "../other/y_worker.ts");', "literal name of a *_worker.ts beside it"],
    ["lib/rafs/x.ts", 'import "../../ffi/libc.ts";', "lib/rafs is pure"],
    ["lib/rafs/x.ts", 'import "node:fs/promises";', "lib/rafs is pure"],
    ["lib/oci/x.ts", 'fetch("x");', "uses fetch, but lib/oci is pure"],
    ["lib/archive/x.ts", 'Deno.readFile("x");', "uses Deno.readFile, but lib/archive is pure"],
    ["tests/support/rafs/x.ts", 'import "../mount/y.ts";', "does not come before tests/support/rafs"],
    ["lib/new/x.ts", "", "no component that the layering knows"],
    ["x.ts", "", "no component that the layering knows"],
  ];
  for (const [path, source, reason] of offending) {
    const [offence, ...more] = offencesOf(path, source);
    assert.ok(offence !== undefined && offence.reason.includes(reason), `${path} with ${source}: ${offence?.reason}`);
    assert.deepEqual(more, []);
  }
});

Deno.test("allowed imports are accepted", () => {
  const allowed: [path: string, source: string][] = [
    ["lib/rafs/v6/x.ts", 'import "../a.ts"; import "../../base/bytes.ts"; import "node:zlib";'],
    ["lib/oci/x.ts", "Deno.build.arch;"],
    ["lib/blob/x.ts", 'import "../../ffi/libc.ts"; Deno.open("x"); workerUrl(import.meta, "y_worker.ts");'],
    ["lib/mount/fanotify/x.ts", 'import "../erofs/y.ts"; import "../y.ts";'],
    ["lib/image/convert/run/x.ts", 'import "../chunks/y.ts"; import "../../y.ts"; import "../../pull/y.ts";'],
    ["lib/cli/x.ts", 'import "commander"; import "../image/y.ts";'],
    ["plugin/docker/x.ts", 'import "hono"; import "hono/http-exception"; import "../../lib/image/y.ts";'],
    ["lib/base/version.ts", 'import manifest from "../../deno.json" with { type: "json" };'],
    ["main.ts", 'import "./lib/cli/x.ts"; import "./plugin/y.ts";'],
    ["tests/support/mount/x.ts", 'import "../rafs/y.ts"; import "../until.ts"; import "../../../plugin/y.ts";'],
    ["lib/rafs/x_test.ts", 'import "../../tests/support/y.ts"; Deno.test("x", () => {});'],
  ];
  for (const [path, source] of allowed) assert.deepEqual(offencesOf(path, source), [], `${path} with ${source}`);
});
