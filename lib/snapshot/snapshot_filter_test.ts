import fc from "fast-check";
import { deepEqual, equal, throws } from "node:assert/strict";
import { type Filtered, parseFilters } from "./snapshot_filter.ts";

const SNAPSHOTS: readonly Filtered[] = [
  { name: "p", parent: "", kind: "committed", labels: [["l", "1"], ["containerd.io/gc.root", "x"]] },
  { name: "a", parent: "p", kind: "active", labels: [["l", "2"]] },
  { name: 'odd "name"\n', parent: "p", kind: "view", labels: [["containerd.io/snapshot.ref", "sha256:ab"]] },
];

const matching = (...filters: string[]) =>
  SNAPSHOTS.filter(parseFilters(filters)).map((found) => SNAPSHOTS.indexOf(found));

Deno.test("no filter, and an empty one, match every snapshot", () => {
  deepEqual(matching(), [0, 1, 2]);
  deepEqual(matching(""), [0, 1, 2]);
});

Deno.test("selectors of a filter must all match, of several filters one", () => {
  deepEqual(matching("kind==active"), [1]);
  deepEqual(matching("parent==p,kind==view"), [2]);
  deepEqual(matching("name==p", "name==a"), [0, 1]);
  deepEqual(matching("labels.l, parent != p"), [0]);
});

Deno.test("labels are named by path or in quotes, and may be compared, matched or looked for", () => {
  deepEqual(matching("labels.l"), [0, 1]);
  deepEqual(matching("labels.l==2"), [1]);
  deepEqual(matching('labels."containerd.io/gc.root"==x'), [0]);
  deepEqual(matching("labels.l~=[12]"), [0, 1]);
  deepEqual(matching("labels.l~=/^1$/"), [0]);
  deepEqual(matching("labels.l!=1"), [1, 2], "a missing label differs from every value");
});

Deno.test("the filter by which containerd looks for a remote snapshot finds it", () => {
  deepEqual(matching('labels."containerd.io/snapshot.ref"==sha256:ab,parent=="p"'), [2]);
  deepEqual(matching('labels."containerd.io/snapshot.ref"==sha256:ab,parent==""'), []);
  deepEqual(matching('parent==""'), [0]);
});

Deno.test("quoted values have the escapes of Go, some of which are bytes of UTF-8", () => {
  deepEqual(matching('name=="odd \\"name\\"\\n"'), [2]);
  deepEqual(matching('name=="\\x61"', 'name=="\\160"'), [0, 1]);
  const umlaut: Filtered = { name: "ü", parent: "", kind: "active", labels: [] };
  for (const text of ["ü", "\\u00fc", "\\U000000fc", "\\xc3\\xbc"]) {
    equal(parseFilters([`name=="${text}"`])(umlaut), true, text);
  }
});

Deno.test("an invalid expression matches nothing, invalid syntax is refused", () => {
  deepEqual(matching("name~=/(/"), []);
  for (
    const text of ["==x", "name=", "name==", "name=x", "name==x y", "name==x,", 'name=="x', 'name=="\\q"', "name."]
  ) {
    throws(() => parseFilters([text]), { code: "usage" }, text);
  }
});

Deno.test("any text is a filter or refused, and any name is found by its quoted form", () => {
  const pieces = fc.constantFrom(
    "name",
    "labels",
    ".",
    ",",
    "==",
    "!=",
    "~=",
    '"',
    "/",
    "|",
    "\\",
    "x",
    " ",
    "\n",
    "\\x",
  );
  fc.assert(fc.property(fc.array(fc.oneof(pieces, fc.string())).map((parts) => parts.join("")), (text) => {
    try {
      matching(text);
    } catch (error) {
      equal((error as { code?: string }).code, "usage", text);
    }
  }));
  fc.assert(fc.property(fc.string(), (name) => {
    const snapshot: Filtered = { name, parent: "", kind: "view", labels: [[name, name]] };
    const quoted = JSON.stringify(name); // for these characters as Go does it
    equal(parseFilters([`name==${quoted},labels.${quoted}==${quoted}`])(snapshot), true);
  }));
});
