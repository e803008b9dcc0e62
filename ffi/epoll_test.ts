import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { EPOLL, ExclusiveWait } from "./epoll.ts";
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { mknodat, S } from "./sys_stat.ts";
import { writeAll } from "./unistd.ts";

Deno.test("several callers wait for one descriptor, repeatedly", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.PATH);
  mknodat(dir, "pipe", S.IFIFO | 0o600, 0);
  using pipe = open(temp.join("pipe"), O.RDWR);
  using first = new ExclusiveWait(pipe, EPOLL.IN);
  using second = new ExclusiveWait(pipe, EPOLL.IN);
  assert.equal(first.wait(0), false);
  assert.equal(second.wait(0), false);
  writeAll(pipe, new Uint8Array([1]));
  assert.equal(first.wait(-1), true);
  assert.equal(first.wait(0), true); // the data have not been read
  assert.equal(second.wait(-1), true);
});

Deno.test("a descriptor that epoll does not support is refused", () => {
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("file"), "");
  using file = open(temp.join("file"), O.RDONLY);
  assert.throws(() => new ExclusiveWait(file, EPOLL.IN), (error) => isErrno(error, "EPERM"));
});
