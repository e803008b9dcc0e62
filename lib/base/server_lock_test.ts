import assert from "node:assert/strict";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { lockFile, lockFileSoon } from "./server_lock.ts";

Deno.test("a lock that is released shortly is waited for, a lock that stays held is busy", async () => {
  using temp = TempDir.make();
  const path = temp.join("lock");
  const held = lockFile(path, "home");
  assert.throws(() => lockFile(path, "home"), { code: "busy" });
  const waiting = lockFileSoon(path, "home");
  held[Symbol.dispose]();
  using _lock = await waiting;
  await assert.rejects(lockFileSoon(path, "home"), { code: "busy", message: /another nydus-gd uses it/ });
});
