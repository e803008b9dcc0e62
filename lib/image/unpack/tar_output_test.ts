import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { TarFile } from "./tar_output.ts";

const BYTES = new TextEncoder().encode("a tar");

const namesIn = (folder: string) => Array.from(Deno.readDirSync(folder), ({ name }) => name);

Deno.test("a tar file has no name at all until it is complete", async () => {
  using temp = TempDir.make();
  const path = temp.join("files.tar");
  const file = await TarFile.create(path);
  await file.write(BYTES);
  assert.deepEqual(namesIn(temp.path), []);
  await file.finish();
  assert.deepEqual(namesIn(temp.path), ["files.tar"]);
  assert.deepEqual(await Deno.readFile(path), BYTES);
  assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o644 & ~Deno.umask());
});

Deno.test("a tar file created by somebody else in the meantime is kept", async () => {
  using temp = TempDir.make();
  const path = temp.join("files.tar");
  const file = await TarFile.create(path);
  await file.write(BYTES);
  await Deno.writeTextFile(path, "theirs");
  await assert.rejects(() => file.finish(), (error) => hasCode(error, "exists"));
  await file.discard();
  assert.equal(await Deno.readTextFile(path), "theirs");
  await assert.rejects(() => TarFile.create(path), (error) => hasCode(error, "exists"));
});

Deno.test("a place where no tar file can be is named before anything is written", async () => {
  using temp = TempDir.make();
  await assert.rejects(
    () => TarFile.create(temp.join("no/folder.tar")),
    { code: "not-found", message: /: its parent folder does not exist$/, hint: `mkdir -p ${temp.join("no")}` },
  );
  await assert.rejects(() => TarFile.create(""), (error) => hasCode(error, "usage"));
  // a hint to remove a device would be carried out by root
  await assert.rejects(
    () => TarFile.create("/dev/null"),
    (error) => hasCode(error, "exists") && !/rm/.test(`${error.hint}`),
  );
});
