import assert from "node:assert/strict";

import { pathParts, PathResolver } from "./path_resolver.ts";

/** A folder, the target of a symbolic link, or the content of a file. */
type Node = Folder | { readonly target: string } | { readonly file: string };
type Folder = Map<string, Node>;

const folder = (children: Record<string, Node>): Folder => new Map(Object.entries(children));

const library = { file: "a library" };
const modules = folder({ "a.ko": { file: "a module" } });
const root = folder({
  usr: folder({ lib: folder({ modules, "libc.so": { target: "libc.so.6" }, "libc.so.6": library }) }),
  lib: { target: "usr/lib" },
  absolute: { target: "/lib/modules" },
  outside: { target: "../../../usr/./lib//modules" },
  loop: { target: "loop" },
  lost: { target: "usr/nothing" },
});

function resolver(): PathResolver<Node, Folder> {
  return new PathResolver<Node, Folder>(root, {
    isFolder: (node): node is Folder => node instanceof Map,
    childOf: (node, name) => node.get(name),
    targetOf: (node) => "target" in node ? node.target : undefined,
  });
}

const resolve = (path: string) => resolver().resolve(pathParts(path));

Deno.test("symbolic links are followed within and at the end of a path", () => {
  assert.equal(resolve("lib/modules"), modules);
  assert.equal(resolve("absolute"), modules);
  assert.equal(resolve("lib/libc.so"), library);
  assert.equal(resolve("lib/modules/../../lib/libc.so"), library);
});

Deno.test("no path leads out of the root", () => {
  assert.equal(resolve("../.."), root);
  assert.equal(resolve("outside"), modules);
});

Deno.test("a link to itself, a dangling link and a path below a file are not found", () => {
  for (const path of ["loop", "lost", "lost/a", "lib/libc.so/a", "lib/libc.so/.."]) {
    assert.equal(resolve(path), undefined, path);
  }
});

Deno.test("entering a child that is not a folder leaves the current folder unchanged", () => {
  const at = resolver();
  for (const name of ["loop", "lost"]) {
    assert.equal(at.enter(root.get(name) ?? assert.fail()), false, name);
    assert.equal(at.folder, root);
  }
  assert.equal(at.enter(root.get("absolute") ?? assert.fail()), true);
  assert.equal(at.folder, modules);
});
