import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { decodeInotifyEvents, IN, inotifyAddWatch, inotifyInit, inotifyRead } from "./inotify.ts";

Deno.test("struct inotify_event is laid out as linux/inotify.h says", () => {
  const bytes = goldenBytes(`
    01 00 00 00 00 20 00 00   wd, mask: IN_UNMOUNT
    00 00 00 00 08 00 00 00   cookie, len
    61 62 00 00 00 00 00 00   name
    02 00 00 00 00 80 00 00   wd, mask: IN_IGNORED
    00 00 00 00 00 00 00 00   cookie, len
  `);
  assert.deepEqual(decodeInotifyEvents(bytes), [{ watch: 1, mask: IN.UNMOUNT }, { watch: 2, mask: IN.IGNORED }]);
});

Deno.test("removal of a watched folder is reported once", () => {
  using temp = TempDir.make();
  using inotify = inotifyInit();
  Deno.mkdirSync(temp.join("folder"));
  const watch = inotifyAddWatch(inotify, temp.join("folder"), IN.DELETE_SELF | IN.ONLYDIR);
  assert.deepEqual(inotifyRead(inotify), []);
  Deno.removeSync(temp.join("folder"));
  assert.deepEqual(inotifyRead(inotify), [{ watch, mask: IN.DELETE_SELF }, { watch, mask: IN.IGNORED }]);
});
