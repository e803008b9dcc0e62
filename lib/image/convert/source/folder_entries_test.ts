import assert from "node:assert/strict";
import { buildWith, show } from "../../../../tests/support/rafs/built_rafs.ts";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { AT, O, open, openat } from "../../../../ffi/fcntl.ts";
import type { Fd } from "../../../../ffi/fd.ts";
import { mkdirat, statat } from "../../../../ffi/sys_stat.ts";
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

Deno.test("a file that changes while it is converted is named, although its length and its time stay the same", async () => {
  const chunkSize = 1 << 20, size = 40 << 20; // more than is in flight at a time
  const rewrite = (path: string) => {
    const { atime, mtime } = Deno.statSync(path);
    using file = Deno.openSync(path, { write: true });
    file.writeSync(Uint8Array.of(1));
    Deno.utimeSync(path, atime ?? 0, mtime ?? 0);
  };
  const replace = (path: string) => {
    Deno.copyFileSync(path, `${path}-new`);
    Deno.renameSync(`${path}-new`, path);
  };
  const cases = { rewrite, replace };
  for (const [name, change] of Object.entries(cases)) {
    for (const after of [chunkSize, size / 2, size]) {
      using temp = TempDir.make();
      const path = temp.join("file");
      Deno.writeFileSync(path, new Uint8Array(1));
      Deno.truncateSync(path, size);
      let added = 0;
      const onBytes = (bytes: number) => {
        added += bytes;
        if (added === after) untilNoticeable(path, change);
      };
      const message = `Cannot convert ${path}: it changed while it was read`;
      await assert.rejects(
        () => buildWith({ chunkSize }, fromFolder(temp.path, onBytes, signal)),
        { message },
        `${name} after ${after} bytes`,
      );
    }
  }
});

/** Repeats a change until the kernel's clock, which times it, has gone on. */
function untilNoticeable(path: string, change: (path: string) => void): void {
  const ctime = () => {
    const { ctimeSec, ctimeNsec } = statat(AT.FDCWD, path, 0);
    return `${ctimeSec}.${ctimeNsec}`;
  };
  for (const before = ctime(); ctime() === before;) change(path);
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
