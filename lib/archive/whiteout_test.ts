import { deepEqual, equal } from "node:assert/strict";
import fc from "fast-check";
import { fromByteString, toByteString } from "../base/bytes.ts";
import { isOverlayWhiteout, parseWhiteout, whiteoutName } from "./whiteout.ts";

const parse = (component: string) => {
  const read = parseWhiteout(fromByteString(component));
  return read.kind === "whiteout" ? toByteString(read.name) : read.kind;
};

Deno.test("whiteouts and opaque markers are recognised by their names", () => {
  const cases: [string, string][] = [
    [".wh.file", "file"],
    [".wh..hidden", ".hidden"],
    [".wh..wh..opq", "opaque"],
    [".wh..wh.aufs", "meta"],
    [".wh..wh..opqx", "meta"],
    [".wh.", ""],
    [".wh..", "."],
    [".wh...", ".."],
    [".whatever", "none"],
    ["x.wh.y", "none"],
    ["", "none"],
  ];
  for (const [component, want] of cases) equal(parse(component), want, component);
});

Deno.test("the whiteout of any name is parsed back to that name", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 255 }), (name) => {
    fc.pre(!toByteString(name).startsWith(".wh."));
    deepEqual(parseWhiteout(whiteoutName(name)), { kind: "whiteout", name });
  }));
});

Deno.test("only a character device 0:0 is an overlay whiteout", () => {
  equal(isOverlayWhiteout(0o020000, 0, 0), true);
  equal(isOverlayWhiteout(0o020666, 1, 3), false);
  equal(isOverlayWhiteout(0o060000, 0, 0), false);
  equal(isOverlayWhiteout(0o100000, 0, 0), false);
});
