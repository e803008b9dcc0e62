import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { readJsonFile, writeJsonFile } from "./json_file.ts";

Deno.test("a written value is read back and replaces the previous one", async () => {
  using dir = TempDir.make();
  const path = dir.join("state.json");
  assert.equal(await readJsonFile(path), undefined);
  await writeJsonFile(path, { a: [1, 2, 3], text: "long enough to be seen behind a shorter one" });
  await writeJsonFile(path, { b: 1 });
  assert.deepEqual(await readJsonFile(path), { b: 1 });
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
});

Deno.test("a write interrupted by a crash leaves the old content, and the next write succeeds", async () => {
  using dir = TempDir.make();
  const path = dir.join("state.json");
  await writeJsonFile(path, { next: 7 });
  await Deno.writeTextFile(`${path}.tmp`, '{"next": 8, "num');
  assert.deepEqual(await readJsonFile(path), { next: 7 });
  await writeJsonFile(path, { next: 9 });
  assert.deepEqual(await readJsonFile(path), { next: 9 });
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["state.json"]);
});

Deno.test("concurrent writes are serialised: the last call wins", async () => {
  using dir = TempDir.make();
  const path = dir.join("state.json");
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => writeJsonFile(path, { n, fill: "x".repeat(1000 * (20 - n)) })),
  );
  assert.deepEqual(await readJsonFile(path), { n: 19, fill: "x".repeat(1000) });
});

Deno.test("a value is written as it was when the call was made", async () => {
  using dir = TempDir.make();
  const path = dir.join("state.json");
  const value = { n: 1 };
  const written = writeJsonFile(path, value);
  value.n = 2;
  await written;
  assert.deepEqual(await readJsonFile(path), { n: 1 });
});

Deno.test("text that is not JSON is a SyntaxError", async () => {
  using dir = TempDir.make();
  const path = dir.join("state.json");
  for (const text of ["", "{", '{"next": 7}\n{', "\0\0\0\0"]) {
    await Deno.writeTextFile(path, text);
    await assert.rejects(readJsonFile(path), SyntaxError);
  }
});

Deno.test("a failed write keeps the old content and leaves no temporary file", async () => {
  using dir = TempDir.make();
  const path = dir.join("state.json");
  await Deno.mkdir(`${path}/in-the-way`, { recursive: true }); // rename cannot replace a non-empty directory
  await assert.rejects(writeJsonFile(path, {}));
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["state.json"]);
  await assert.rejects(writeJsonFile(dir.join("no/such/folder.json"), {}), /ENOENT/);
});
