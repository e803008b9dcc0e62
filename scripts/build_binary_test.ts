import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { bundleModules } from "./build_binary.ts";

const SOURCE = new URL("../tests/support/process/used_once.ts", import.meta.url).pathname;

Deno.test("bundled code gives the same results as its source", async () => {
  using temp = TempDir.make();
  await bundleModules(["--output", temp.join("program.js"), SOURCE]);
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", "--quiet", temp.join("program.js")] })
    .output();
  assert.equal(new TextDecoder().decode(stdout), "0\n");
});
