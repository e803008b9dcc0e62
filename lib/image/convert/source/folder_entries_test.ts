import assert from "node:assert/strict";
import { buildWith, show } from "../../../../tests/support/rafs/built_rafs.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { O, open, openat } from "../../../../ffi/fcntl.ts";
import type { Fd } from "../../../../ffi/fd.ts";
import { mkdirat } from "../../../../ffi/sys_stat.ts";
import { symlinkat, writeAll } from "../../../../ffi/unistd.ts";
import { fromFolder } from "./folder_entries.ts";

const { signal } = new AbortController();

/** Creates nested folders of these names; the last one stays open. */
function makeBelow(root: string, names: readonly string[]): Fd {
  let folder = open(root, O.RDONLY | O.DIRECTORY);
  for (const name of names) {
    using above = folder;
    mkdirat(above, name, 0o755);
    folder = openat(above, name, O.RDONLY | O.DIRECTORY);
  }
  return folder;
}

Deno.test("a tree with paths longer than PATH_MAX from the machine's root is converted", async () => {
  using temp = TempDir.make();
  const names = Array.from({ length: 40 }, (_, k) => `${k}`.padEnd(101, "x"));
  {
    using deepest = makeBelow(temp.path, names);
    using file = openat(deepest, "file", O.WRONLY | O.CREAT);
    writeAll(file, new TextEncoder().encode("deep"));
    symlinkat(new TextEncoder().encode("file"), deepest, "link");
  }
  assert.ok(`${temp.path}/${names.join("/")}/file`.length > 4096);
  const shown = await show(await buildWith({}, fromFolder(temp.path, () => {}, signal)));
  assert.equal(shown.size, 43);
  assert.equal(shown.get(`/${names.join("/")}/file`)?.content, "deep");
  assert.equal(shown.get(`/${names.join("/")}/link`)?.target, "file");
});

Deno.test("a path longer than PATH_MAX from the root of the tree is refused by name", async () => {
  using temp = TempDir.make();
  makeBelow(temp.path, Array.from({ length: 41 }, () => "x".repeat(100)))[Symbol.dispose]();
  await assert.rejects(
    () => buildWith({}, fromFolder(temp.path, () => {}, signal)),
    /^NydusGdError: Cannot convert "x{100}\/.*…": its path has 4140 bytes, at most 4095$/,
  );
});

Deno.test("a file or folder that is removed or replaced by a link during the conversion is named as changed", async () => {
  const changes: Record<string, (path: string) => void> = {
    "a is removed before its data is read": (dir) => Deno.removeSync(`${dir}/a`),
    "b is removed before it is seen": (dir) => Deno.removeSync(`${dir}/b`),
    "c is removed before it is listed": (dir) => Deno.removeSync(`${dir}/c`),
    "a becomes a link before its data is read": (dir) => {
      Deno.removeSync(`${dir}/a`);
      Deno.symlinkSync("b", `${dir}/a`);
    },
  };
  for (const [name, change] of Object.entries(changes)) {
    using temp = TempDir.make();
    for (const file of ["a", "b"]) Deno.writeTextFileSync(temp.join(file), file);
    Deno.mkdirSync(temp.join("c"));
    const entries = fromFolder(temp.path, once(() => change(temp.path)), signal);
    const message = `Cannot convert ${temp.join(name.charAt(0))}: it changed while it was read`;
    await assert.rejects(() => buildWith({}, entries), { message }, name);
  }
});

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
