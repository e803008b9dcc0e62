import assert from "node:assert/strict";
import { hasCode } from "../base/errors.ts";
import { FS_DRIVER_CHOICES } from "../base/settings.ts";
import { chooseFsDriver, explainFsDriver } from "./choose.ts";

Deno.test("auto takes a data path that can be named too", () => {
  assert.equal(chooseFsDriver("auto"), "fuse");
  assert.equal(chooseFsDriver(chooseFsDriver("auto")), chooseFsDriver("auto"));
});

Deno.test("a data path that is named is that one or an error, never another", () => {
  for (const wanted of FS_DRIVER_CHOICES) {
    if (wanted === "auto") continue;
    try {
      assert.equal(chooseFsDriver(wanted), wanted);
    } catch (error) {
      assert.ok(hasCode(error, "unsupported") && error.message.includes(wanted) && error.hint !== undefined);
    }
  }
});

Deno.test("the choice is told with its reason", () => {
  assert.deepEqual(explainFsDriver("fuse"), { fsDriver: "fuse", reason: "asked for by name" });
  assert.notEqual(explainFsDriver("auto").reason, explainFsDriver("fuse").reason);
  assert.throws(() => explainFsDriver("erofs-fscache"), (error) => hasCode(error, "unsupported"));
});
