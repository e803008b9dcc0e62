import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { until } from "../tests/support/until.ts";
import { isErrno } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import type { Fd } from "./fd.ts";
import { flock, LOCK } from "./sys_file.ts";

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
  await until("the lock is free", () => isFree(second)); // a child of another test has a duplicate until its exec
});

function isFree(file: Fd): boolean {
  try {
    flock(file, LOCK.EX | LOCK.NB);
    return true;
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return false;
    throw error;
  }
}
