import assert from "node:assert/strict";
import { ERRNO, errnoName, isErrno, SyscallError } from "./errno.ts";
import { O, open } from "./fcntl.ts";
import { Fd, procFdPath, rawFd } from "./fd.ts";
import { check, cstring, load, MissingLibraryError, nameArgument, show } from "./libc.ts";
import { TempDir } from "../tests/support/temp_dir.ts";

Deno.test("a name is encoded with one NUL at the end", () => {
  assert.deepEqual(cstring("aé"), new Uint8Array([0x61, 0xc3, 0xa9, 0]));
  assert.deepEqual(cstring(new Uint8Array([0xff, 0x80])), new Uint8Array([0xff, 0x80, 0]));
  assert.deepEqual(cstring(""), new Uint8Array([0]));
});

Deno.test("a NUL inside a name is EINVAL before the kernel sees it", () => {
  for (const name of ["a\0b", new Uint8Array([0x61, 0, 0x62])]) {
    assert.throws(
      () => cstring(name, "open"),
      (e) => isErrno(e, "EINVAL") && e.message === 'Cannot open "a\\x00b": EINVAL',
    );
    assert.throws(() => nameArgument(name, "open"), (e) => isErrno(e, "EINVAL"));
  }
});

Deno.test("an argument in scratch memory equals the same name in allocated memory", () => {
  const names = [
    "",
    "x",
    "é€😀",
    "n".repeat(4096),
    "€".repeat(4096),
    "n".repeat(4097),
    new Uint8Array(4096).fill(0xff),
  ];
  for (const name of names) {
    const wanted = cstring(name);
    nameArgument("y".repeat(4096), "test"); // leaves its bytes in the buffer
    assert.deepEqual(nameArgument(name, "test").subarray(0, wanted.length), wanted);
  }
});

Deno.test("the two scratch slots hold two names at the same time", () => {
  const first = nameArgument("first", "test", 0);
  const second = nameArgument("second", "test", 1);
  assert.deepEqual(first.subarray(0, 6), cstring("first"));
  assert.deepEqual(second.subarray(0, 7), cstring("second"));
});

Deno.test("control characters of a file name are escaped in messages", () => {
  assert.equal(show(new Uint8Array([0x1b, 0x5b, 0x41, 0xff])), "\\x1b[A\ufffd");
  assert.equal(show("a\n\u009b"), "a\\x0a\\x9b");
});

Deno.test("the error of a failed call names the call, its subject and the errno", () => {
  const error = new SyscallError("mount", ERRNO.EBUSY, "/x");
  assert.equal(error.message, 'Cannot mount "/x": EBUSY');
  assert.equal(error.code, "EBUSY");
  assert.equal(
    new SyscallError("mount", ERRNO.EINVAL, "/x", "bad option").message,
    'Cannot mount "/x": EINVAL (bad option)',
  );
  assert.equal(errnoName(4095), "errno 4095");
});

Deno.test("errno names and numbers map one to one", () => {
  assert.equal(new Set(Object.values(ERRNO)).size, Object.keys(ERRNO).length);
  for (const [name, number] of Object.entries(ERRNO)) assert.equal(errnoName(number), name);
});

Deno.test("only -1 is treated as failure", () => {
  assert.equal(check(-2, "x", "y"), -2);
  assert.equal(check(7n, "x", "y"), 7);
});

Deno.test("errno is right even for a thread's first failed call", async () => {
  const script = `import { open } from ${JSON.stringify(new URL("fcntl.ts", import.meta.url).href)};
    try { open("/nowhere/at/all", 0); } catch (e) { console.log(e.message); }`;
  const args = ["eval", "--no-check", "--no-lock", "--ext=ts", script];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.equal(new TextDecoder().decode(stdout).trim(), 'Cannot open "/nowhere/at/all": ENOENT');
});

Deno.test("a missing library is reported with its package, and only when it is first called", () => {
  const lib = load("libnothing-at-all.so.9", "libnothing9", { f: { parameters: [], result: "void" } });
  assert.throws(() => lib(), (e) => e instanceof MissingLibraryError && e.hint === "apt-get install libnothing9");
});

Deno.test("a missing symbol is reported differently from a missing library", () => {
  const lib = load("libc.so.6", "libc6", { no_such_symbol: { parameters: [], result: "void" } });
  assert.throws(() => lib(), {
    name: "MissingLibraryError",
    message: "Cannot load libc.so.6: it has no no_such_symbol",
  });
});

Deno.test("an owned descriptor is closed once and cannot be used afterwards", () => {
  using dir = TempDir.make();
  const path = dir.join("file");
  Deno.writeTextFileSync(path, "");
  const openOn = () => Array.from(Deno.readDirSync("/proc/self/fd")).filter(({ name }) => linksTo(name, path)).length;
  const fd = open(path, O.RDONLY);
  assert.equal(openOn(), 1);
  fd[Symbol.dispose]();
  fd[Symbol.dispose]();
  assert.equal(fd.closed, true);
  assert.throws(() => fd.raw, /already closed/);
  assert.throws(() => rawFd(fd), /already closed/);
  assert.equal(openOn(), 0);
});

/** Whether a descriptor, which another thread may close meanwhile, is open on `path`. */
function linksTo(number: string, path: string): boolean {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${number}`) === path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("a duplicate stays open when the original is closed", () => {
  const first = open("/dev/null", O.RDONLY);
  using second = first.duplicate();
  first[Symbol.dispose]();
  assert.equal(Deno.readLinkSync(procFdPath(second)), "/dev/null");
});

Deno.test("close-on-exec is set by default and can be cleared", () => {
  const cloexec = (fd: Fd): boolean => {
    const flags = /^flags:\s*(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${fd.raw}`))?.[1] ?? "";
    return (parseInt(flags, 8) & O.CLOEXEC) !== 0;
  };
  using fd = open("/dev/null", O.RDONLY);
  using copy = fd.duplicate();
  assert.equal(cloexec(fd), true);
  assert.equal(cloexec(copy), true);
  fd.setCloseOnExec(false);
  assert.equal(cloexec(fd), false);
  fd.setCloseOnExec(true);
  assert.equal(cloexec(fd), true);
});

Deno.test("a number that is not an open descriptor cannot be owned", () => {
  for (const raw of [-1, NaN, 1.5]) assert.throws(() => Fd.own(raw), RangeError);
});

Deno.test("a released descriptor stays open", () => {
  const fd = open("/dev/null", O.RDONLY);
  const raw = fd.release();
  fd[Symbol.dispose]();
  using again = Fd.own(raw);
  assert.equal(Deno.readLinkSync(procFdPath(again)), "/dev/null");
});
