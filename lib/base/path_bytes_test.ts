import assert from "node:assert/strict";
import { hasSlashOrNul, isDots, joinPath } from "./path_bytes.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("a path and a name are joined by one slash", () => {
  for (const [folder, name, path] of [["/", "usr", "/usr"], ["/usr", "bin", "/usr/bin"], ["a/", "b", "a/b"]] as const) {
    assert.deepEqual(joinPath(bytes(folder), bytes(name)), bytes(path));
  }
});

Deno.test("only . and .. are dots", () => {
  const names = [".", "..", "", "...", ".a", "a.", "a"];
  assert.deepEqual(names.filter((name) => isDots(bytes(name))), [".", ".."]);
});

Deno.test("a slash or NUL is found within the range, not beside it", () => {
  assert.equal(hasSlashOrNul(bytes("/ab\0"), 1, 3), false);
  assert.equal(hasSlashOrNul(bytes("/ab\0"), 0, 3), true);
  assert.equal(hasSlashOrNul(bytes("/ab\0"), 1, 4), true);
});
