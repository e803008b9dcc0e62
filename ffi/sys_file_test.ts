import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { until } from "../tests/support/until.ts";
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { flock, LOCK, tryFlock } from "./sys_file.ts";

Deno.test("a lock excludes other opens of the file until it is released", () => {
  using temp = TempDir.make();
  using first = open(temp.join("lock"), O.CREAT | O.RDWR);
  using second = open(temp.join("lock"), O.RDWR);
  flock(first, LOCK.EX | LOCK.NB);
  assert.throws(() => flock(second, LOCK.SH | LOCK.NB), { message: `Cannot flock "fd ${second.raw}": EAGAIN` });
  flock(first, LOCK.SH);
  flock(second, LOCK.SH | LOCK.NB);
  assert.throws(() => flock(second, LOCK.EX | LOCK.NB), (e) => isErrno(e, "EAGAIN"));
  flock(first, LOCK.UN);
  flock(second, LOCK.EX | LOCK.NB);
});

Deno.test("a lock is released when the last duplicate of its descriptor is closed", async () => {
  using temp = TempDir.make();
  const first = open(temp.join("lock"), O.CREAT | O.RDWR);
  flock(first, LOCK.EX);
  const copy = first.duplicate();
  first[Symbol.dispose]();
  using second = open(temp.join("lock"), O.RDWR);
  assert.throws(() => flock(second, LOCK.EX | LOCK.NB), (e) => isErrno(e, "EAGAIN"));
  copy[Symbol.dispose]();
  await until("the lock is free", () => tryFlock(second, LOCK.EX)); // a child of another test has a duplicate until its exec
});
