import assert from "node:assert/strict";
import { pathBytes, pathText } from "./path_text.ts";

Deno.test("a path is formatted as one line of text", () => {
  const text = (path: string) => pathText(new TextEncoder().encode(path));
  assert.equal(text("/names/ünï"), "/names/ünï");
  assert.equal(text("/a\nb\x1b[2J"), "/a\\x0ab\\x1b[2J");
  assert.equal(pathText(Uint8Array.of(0x2f, 0xff, 0x61, 0xc3)), "/\\xffa\\xc3");
});

Deno.test("the text of a path is parsed back to its bytes", () => {
  const paths = ["2f66", "2fff61c3", "2f0a0d1b", "2fc3bc"].map((hex) => Uint8Array.fromHex(hex));
  for (const path of paths) assert.deepEqual(pathBytes(pathText(path)), path);
});
