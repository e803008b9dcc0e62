import assert from "node:assert/strict";
import { hasCode } from "../base/errors.ts";
import { FS_DRIVER_CHOICES } from "../base/settings.ts";
import { chooseDataPath, namedFsDriver } from "./choose.ts";

Deno.test("a data path that is named is that one or an error, never another", () => {
  assert.equal(namedFsDriver("auto"), undefined);
  for (const wanted of FS_DRIVER_CHOICES) {
    if (wanted === "auto") continue;
    try {
      assert.equal(namedFsDriver(wanted), wanted);
    } catch (error) {
      assert.ok(hasCode(error, "unsupported") && error.message.includes(wanted) && error.hint !== undefined);
    }
  }
});

Deno.test("fuse is taken by name without a look at the kernel's EROFS", async () => {
  const choice = await chooseDataPath("fuse", "/nonexistent");
  assert.deepEqual(choice, { fsDriver: "fuse", reason: "asked for by name", named: true });
});

Deno.test("auto is fuse and says why; erofs-fuse is an error where images for the kernel cannot be", async () => {
  const choice = await chooseDataPath("auto", "/nonexistent");
  assert.deepEqual([choice.fsDriver, choice.named], ["fuse", false]);
  await assert.rejects(
    chooseDataPath("erofs-fuse", "/nonexistent"),
    (error) =>
      hasCode(error, "environment") && /erofs-fuse: .*nonexistent/.test(error.message) && error.hint !== undefined,
  );
});
