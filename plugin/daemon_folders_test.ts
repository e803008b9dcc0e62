import { deepEqual, rejects } from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { makeFolders } from "./daemon_folders.ts";

Deno.test("the daemon's folders are made, and what has the name of one is named with a remedy", async () => {
  using temp = TempDir.make();
  const { state, homes } = await makeFolders(temp.path);
  await Deno.remove(state, { recursive: true });
  await Deno.writeTextFile(state, "a file");
  await rejects(makeFolders(temp.path), { code: "io", hint: `mv ${state} ${state}.aside` });
  await Deno.rename(state, `${state}.aside`);
  deepEqual((await makeFolders(temp.path)).homes, homes);
});
