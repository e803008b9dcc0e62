import { equal, throws } from "node:assert/strict";
import { Fd } from "../../ffi/fd.ts";
import { TempDir } from "../../tests/support/temp_dir.ts";
import { FileLock } from "./file_lock.ts";

Deno.test("a lock excludes another one until it is released", () => {
  using temp = TempDir.make();
  const path = temp.join("lock");
  const lock = FileLock.take(path);
  throws(() => FileLock.take(path), /EAGAIN/);
  lock[Symbol.dispose]();
  lock[Symbol.dispose]();
  FileLock.take(path)[Symbol.dispose]();
  equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
});

Deno.test("a released lock is free although a program that starts has a copy of its descriptor", () => {
  using temp = TempDir.make();
  const path = temp.join("lock");
  const lock = FileLock.take(path);
  using _copy = copyOf(path);
  lock[Symbol.dispose]();
  FileLock.take(path)[Symbol.dispose]();
});

/** A second descriptor of the open file at `path`, as a child has it between fork and exec. */
function copyOf(path: string): Fd {
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    if (!isLinkTo(`/proc/self/fd/${name}`, path)) continue;
    const original = Fd.own(Number(name));
    const copy = original.duplicate();
    original.release();
    return copy;
  }
  throw new Error(`Cannot find the descriptor of ${path}`);
}

function isLinkTo(link: string, path: string): boolean {
  try {
    return Deno.readLinkSync(link) === path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false; // the descriptor of the listing itself
    throw error;
  }
}
