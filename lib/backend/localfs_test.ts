import assert from "node:assert/strict";
import { join } from "node:path";
import { ON_DEMAND } from "../../tests/support/backend/backend_world.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { hasCode } from "../base/errors.ts";
import { LocalFsBackend } from "./localfs.ts";

async function withFolders(test: (first: string, second: string) => Promise<void>): Promise<void> {
  using first = TempDir.make();
  using second = TempDir.make();
  await test(first.path, second.path);
}

Deno.test("a local blob is read by its id, at any offset", () =>
  withFolders(async (dir) => {
    await Deno.writeFile(join(dir, "b10b"), new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7]));
    const blob = LocalFsBackend.inFolder(dir).blob("b10b");
    assert.equal(await blob.size(), 8);
    assert.deepEqual(await blob.read(3, 4, ON_DEMAND), new Uint8Array([3, 4, 5, 6]));
    assert.deepEqual(await blob.read(8, 0, ON_DEMAND), new Uint8Array(0));
  }));

Deno.test("a file that is empty or missing in dir is looked for in alt_dirs", () =>
  withFolders(async (first, second) => {
    await Deno.writeFile(join(first, "empty"), new Uint8Array());
    await Deno.writeFile(join(second, "empty"), new Uint8Array([9]));
    await Deno.writeFile(join(second, "away"), new Uint8Array([8]));
    const backend = new LocalFsBackend({ blobFile: undefined, dir: first, altDirs: [second] });
    assert.deepEqual(await backend.blob("empty").read(0, 1, ON_DEMAND), new Uint8Array([9]));
    assert.deepEqual(await backend.blob("away").read(0, 1, ON_DEMAND), new Uint8Array([8]));
  }));

Deno.test("blob_file is used for every id", () =>
  withFolders(async (dir) => {
    await Deno.writeFile(join(dir, "the-blob"), new Uint8Array([1, 2]));
    const backend = new LocalFsBackend({ blobFile: join(dir, "the-blob"), dir, altDirs: [] });
    assert.equal(await backend.blob("anything").size(), 2);
  }));

Deno.test("a missing blob is not-found, and is found once it exists", () =>
  withFolders(async (dir) => {
    const blob = LocalFsBackend.inFolder(dir).blob("late");
    await assert.rejects(blob.size(), (error) => hasCode(error, "not-found"));
    await Deno.writeFile(join(dir, "late"), new Uint8Array([1]));
    assert.equal(await blob.size(), 1);
  }));

Deno.test("a read past the end is an error, never a short read", () =>
  withFolders(async (dir) => {
    await Deno.writeFile(join(dir, "short"), new Uint8Array(10));
    const blob = LocalFsBackend.inFolder(dir).blob("short");
    await assert.rejects(blob.read(8, 4, ON_DEMAND), /Cannot read 4 bytes at 8 of .*short: it ends at 10/);
  }));

Deno.test("a read longer than the file allocates no memory for it", () =>
  withFolders(async (dir) => {
    await Deno.writeFile(join(dir, "short"), new Uint8Array(10));
    const blob = LocalFsBackend.inFolder(dir).blob("short");
    await assert.rejects(blob.read(2, 2 ** 50, ON_DEMAND), /at 2 of .*short: it ends at 10/);
  }));

Deno.test("an id that is not a file name is refused", () => {
  const backend = LocalFsBackend.inFolder("/nowhere");
  for (const id of ["", ".", "..", "../etc/passwd", "a/b", "a\0b", "x".repeat(256)]) {
    assert.throws(() => backend.blob(id), (error) => hasCode(error, "invalid-image"), id);
  }
});

Deno.test("an aborted read fails as interrupted", () =>
  withFolders(async (dir) => {
    await Deno.writeFile(join(dir, "b"), new Uint8Array(10));
    const blob = LocalFsBackend.inFolder(dir).blob("b");
    const reading = blob.read(0, 1, { priority: "prefetch", signal: AbortSignal.abort() });
    await assert.rejects(reading, (error) => hasCode(error, "interrupted"));
  }));
