/**
 * State folders of manual mounts, while several commands look at the same one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { isServed, MountState, settleState } from "../../lib/image/mount/mount_state.ts";
import { rootTest } from "../support/root_test.ts";
import { TempDir } from "../support/temp_dir.ts";

/** How often the end of a mount meets those who look: without the mend it fails within a few. */
const ROUNDS = 20;

/** Files whose removal takes a while. */
function fill(folder: string): void {
  for (let i = 0; i < 200; i++) Deno.writeTextFileSync(`${folder}/${i}`, "");
}

rootTest("a mount ends while others look whether it is served", async () => {
  using temp = TempDir.make();
  let ending = true;
  const look = async () => {
    while (ending) await isServed(temp.path);
  };
  const looking = Array.from({ length: 8 }, look);
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const state = await MountState.take(temp.path).catch(() => undefined); // somebody looks just now
      if (state !== undefined) fill(state.path);
      await state?.[Symbol.asyncDispose]();
      await settleState(temp.path, 10_000);
    }
  } finally {
    ending = false;
    await Promise.all(looking);
  }
  assert.equal(await isServed(temp.path), undefined);
});
