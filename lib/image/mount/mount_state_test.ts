import assert from "node:assert/strict";
import { TempDir } from "../../../tests/support/temp_dir.ts";
import { hasCode } from "../../base/errors.ts";
import { placeOf } from "./mount_state.ts";

Deno.test("a mount point is resolved to an absolute path without links, whether it exists or not", async () => {
  using temp = TempDir.make();
  Deno.mkdirSync(temp.join("real/inner"), { recursive: true });
  Deno.symlinkSync("real", temp.join("link"));
  const real = await Deno.realPath(temp.path);
  assert.equal(await placeOf(temp.join("link")), `${real}/real`);
  assert.equal(await placeOf(temp.join("link/inner/")), `${real}/real/inner`);
  assert.equal(await placeOf(temp.join("link/none")), `${real}/real/none`);
  assert.equal(await placeOf(temp.join("real/inner/..")), `${real}/real`);
  assert.equal(await placeOf("/"), "/");
});

Deno.test("an impossible mount point is reported with its path", async () => {
  await assert.rejects(placeOf("/nonexistent/x"), (error) => hasCode(error, "not-found"));
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("file"), "");
  Deno.symlinkSync("loop", temp.join("loop"));
  for (const path of [temp.join("file/x"), temp.join("file/x/y"), temp.join("loop/x"), temp.join("n".repeat(300))]) {
    const namesPath = (error: unknown) =>
      hasCode(error, "io", "not-found") && error.message.startsWith(`Cannot find folder ${path}: `);
    await assert.rejects(placeOf(path), namesPath, path);
  }
});
