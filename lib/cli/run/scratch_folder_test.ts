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
  await oldFolder(temp.join("nydus-gd-scratch-dead"));
  await oldFolder(temp.join("nydus-gd-scratch-of-a-clock-that-was-ahead"), TOMORROW);
  const used = await oldFolder(temp.join("nydus-gd-scratch-used"));
  using _use = lockFolder(temp.join(used), LOCK.EX);
  const other = await oldFolder(temp.join("other"));
  await Deno.symlink(temp.join(other), temp.join("nydus-gd-scratch-link"));
  const names = () => Array.from(Deno.readDirSync(temp.path), ({ name }) => name).sort();
  {
    await using folder = await ScratchFolder.make(temp.path);
    const own = folder.path.slice(temp.path.length + 1);
    assert.deepEqual(names(), [own, "nydus-gd-scratch-link", used, other].sort());
    await using _second = await ScratchFolder.make(temp.path);
    assert.ok(names().includes(own));
  }
  assert.deepEqual(names(), ["nydus-gd-scratch-link", used, other]);
});

Deno.test("a temporary folder that cannot be used is named with its variable", async () => {
  // in a process of its own: tests that run in parallel share the environment
  const make = `import { ScratchFolder } from "${new URL("./scratch_folder.ts", import.meta.url)}";
    await ScratchFolder.make().catch(({ message, hint }) => console.log(JSON.stringify({ message, hint })));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", make], env: { TMPDIR: "/no/such" } })
    .output();
  assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), {
    message: "Cannot make a folder in /no/such: no such file or directory",
    hint: "TMPDIR=…",
  });
});
