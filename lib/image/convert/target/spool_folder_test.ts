import assert from "node:assert/strict";
import { TempDir } from "../../../../tests/support/temp_dir.ts";
import { SpoolFolder } from "./spool_folder.ts";

const names = (dir: string) => Array.from(Deno.readDirSync(dir), ({ name }) => name);

Deno.test("a folder is created on demand, and removed with its owner", async () => {
  using temp = TempDir.make();
  const parent = temp.join("work/partial");
  {
    await using spool = new SpoolFolder(parent);
    assert.deepEqual(names(temp.path), []);
    await Deno.writeTextFile(await spool.newPath(), "1");
    await Deno.writeTextFile(await spool.newPath(), "2");
    assert.equal(names(parent).length, 1);
  }
  assert.deepEqual(names(parent), []);
});

Deno.test("folders of dead processes are removed, those of running ones are kept", async () => {
  using temp = TempDir.make();
  await Deno.mkdir(temp.join("run-dead"));
  await Deno.writeTextFile(temp.join("run-dead/1.part"), "large");
  await Deno.mkdir(temp.join("something else"));
  await using living = new SpoolFolder(temp.path);
  const path = await living.newPath();
  await Deno.writeTextFile(path, "on its way");
  await using other = new SpoolFolder(temp.path);
  await other.newPath();
  assert.equal(await Deno.readTextFile(path), "on its way");
  assert.equal(names(temp.path).length, 3);
  assert.ok(names(temp.path).includes("something else"));
});
