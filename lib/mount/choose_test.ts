import assert from "node:assert/strict";
import { hasCode } from "../base/errors.ts";
import { FS_DRIVERS } from "../base/setting_choices.ts";
import { chooseDataPath } from "./choose.ts";
import { namedFsDriver } from "./data_path.ts";

const NOWHERE = { stateDir: "/nonexistent", cacheDir: "/nonexistent" };
const WEAK = { isStrong: false, why: "no process keeps descriptors" } as const;
const STRONG = { isStrong: true, what: "a process keeps descriptors" } as const;

Deno.test("a named data path is used or an error, never replaced by another", () => {
  assert.equal(namedFsDriver("auto"), undefined);
  for (const wanted of FS_DRIVERS) {
    if (wanted === "auto") continue;
    try {
      assert.equal(namedFsDriver(wanted), wanted);
    } catch (error) {
      assert.ok(hasCode(error, "unsupported") && error.message.includes(wanted) && error.hint !== undefined);
    }
  }
});

Deno.test("fuse is used by name without checking the kernel's EROFS", async () => {
  const choice = await chooseDataPath("fuse", NOWHERE);
  assert.deepEqual(choice, { fsDriver: "fuse", reason: "selected by name", named: true });
});

Deno.test("auto is fuse if no kernel path is possible, and gives the reason", async () => {
  for (const [guard, lack] of [[WEAK, "no process keeps descriptors"], [STRONG, ".*nonexistent.*"]] as const) {
    const { fsDriver, reason, named } = await chooseDataPath("auto", NOWHERE, { guard });
    assert.deepEqual([fsDriver, named], ["fuse", false]);
    assert.match(reason, new RegExp(`^no erofs-fanotify: ${lack}; no erofs-fuse: .*nonexistent.*; no erofs-fscache: `));
  }
});

for (
  const [fsDriver, why] of [
    ["erofs-fanotify", "nonexistent"],
    ["erofs-fscache", "fscache"],
    ["erofs-fuse", "nonexistent"],
  ] as const
) {
  Deno.test(`${fsDriver} is an error if it is not available`, async () => {
    await assert.rejects(
      chooseDataPath(fsDriver, NOWHERE, { guard: WEAK }),
      (error) =>
        hasCode(error, "environment") && error.message.startsWith(`Cannot use fs_driver ${fsDriver}: `) &&
        error.message.includes(why) && error.hint !== undefined,
    );
  });
}
