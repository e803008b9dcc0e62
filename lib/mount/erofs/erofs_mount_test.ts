import assert from "node:assert/strict";
import { notCached } from "./erofs_mount.ts";

Deno.test("a kernel with large pages is told apart from one that lacks on-demand loading", () => {
  assert.match(notCached(4096), /does not take it out of its cache \(CONFIG_EROFS_FS_ONDEMAND\)$/);
  assert.match(
    notCached(16384),
    /has pages of 16384 bytes, and takes images out of its cache only if their blocks are /,
  );
});
