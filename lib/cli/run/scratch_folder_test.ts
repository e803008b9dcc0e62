import assert from "node:assert/strict";
import { LOCK } from "../../../ffi/sys_file.ts";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { ScratchFolder } from "./scratch_folder.ts";
import { lockFolder } from "../../base/folder_lock.ts";

const DAY_MS = 24 * 3_600_000;
const YESTERDAY = new Date(Date.now() - DAY_MS), TOMORROW = new Date(Date.now() + DAY_MS);

async function oldFolder(path: string, changed = YESTERDAY): Promise<string> {
  await Deno.mkdir(path);
  await Deno.writeTextFile(`${path}/image.boot`, "");
  await Deno.utime(path, changed, changed);
  return path.slice(path.lastIndexOf("/") + 1);
}

Deno.test("the remains of killed commands in the temporary folder are removed, and nothing else", async () => {
  using temp = TempDir.make();
  const before = Deno.env.get("TMPDIR");
  Deno.env.set("TMPDIR", temp.path);
  try {
    await oldFolder(temp.join("nydus-gd-scratch-dead"));
    await oldFolder(temp.join("nydus-gd-scratch-of-a-clock-that-was-ahead"), TOMORROW);
    const used = await oldFolder(temp.join("nydus-gd-scratch-used"));
    using _use = lockFolder(temp.join(used), LOCK.EX);
    const other = await oldFolder(temp.join("other"));
    await Deno.symlink(temp.join(other), temp.join("nydus-gd-scratch-link"));
    const names = () => Array.from(Deno.readDirSync(temp.path), ({ name }) => name).sort();
    {
      await using folder = await ScratchFolder.make();
      const own = folder.path.slice(temp.path.length + 1);
      assert.deepEqual(names(), [own, "nydus-gd-scratch-link", used, other].sort());
      await using _second = await ScratchFolder.make();
      assert.ok(names().includes(own));
    }
    assert.deepEqual(names(), ["nydus-gd-scratch-link", used, other]);
  } finally {
    if (before === undefined) Deno.env.delete("TMPDIR");
    else Deno.env.set("TMPDIR", before);
  }
});

Deno.test("a temporary folder that cannot be used is named with its variable", async () => {
  const before = Deno.env.get("TMPDIR");
  Deno.env.set("TMPDIR", "/no/such");
  try {
    await assert.rejects(ScratchFolder.make(), {
      message: "Cannot make a folder in /no/such: no such file or directory",
      hint: "TMPDIR=…",
    });
  } finally {
    if (before === undefined) Deno.env.delete("TMPDIR");
    else Deno.env.set("TMPDIR", before);
  }
});
