import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { O, open, openat } from "./fcntl.ts";
import { procFdPath } from "./fd.ts";
import {
  fremovexattr,
  fsetxattr,
  getxattr,
  lgetxattr,
  listxattr,
  llistxattr,
  lsetxattr,
  setxattr,
  splitNames,
} from "./sys_xattr.ts";
import { geteuid, symlinkat } from "./unistd.ts";

const root = geteuid() === 0;
if (!root) console.log("skipped without root: attributes of symbolic links");

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const texts = (names: Uint8Array[]): string[] => names.map((name) => new TextDecoder().decode(name)).sort();

/** A test on a new file. */
function withFile(test: (path: string) => void): () => void {
  return () => {
    using temp = TempDir.make();
    Deno.writeTextFileSync(temp.join("f"), "");
    test(temp.join("f"));
  };
}

Deno.test(
  "an attribute with a value of any bytes is set, read, listed and removed",
  withFile((path) => {
    const value = new Uint8Array([0, 0xff, 0x80, 0]);
    lsetxattr(path, "user.a", value);
    lsetxattr(path, bytesOf("user.\u00ff"), new Uint8Array(0));
    assert.deepEqual(lgetxattr(path, "user.a"), value);
    assert.deepEqual(lgetxattr(path, "user.\u00ff"), new Uint8Array(0));
    assert.deepEqual(texts(llistxattr(path)), ["user.a", "user.\u00ff"]);
    using file = open(path, O.RDONLY);
    fremovexattr(file, "user.a");
    assert.deepEqual(texts(llistxattr(path)), ["user.\u00ff"]);
    assert.throws(() => lgetxattr(path, "user.a"), { message: `Cannot getxattr "${path}": ENODATA` });
    assert.throws(() => fremovexattr(file, "user.a"), (e) => isErrno(e, "ENODATA"));
  }),
);

Deno.test(
  "values and lists longer than the first buffer are read completely",
  withFile((path) => {
    for (const size of [511, 512, 513, 3000]) {
      const value = new Uint8Array(size).map((_, i) => i);
      lsetxattr(path, "user.v", value);
      assert.deepEqual(lgetxattr(path, "user.v"), value);
    }
    using file = open(path, O.RDONLY);
    fremovexattr(file, "user.v");
    const names = Array.from({ length: 12 }, (_, i) => `user.${i}.`.padEnd(120, "n"));
    for (const name of names) lsetxattr(path, name, new Uint8Array(1));
    assert.deepEqual(texts(llistxattr(path)), names.sort());
  }),
);

Deno.test(
  "names and values beyond the limits of the kernel are refused",
  withFile((path) => {
    const longest = "user.".padEnd(255, "n");
    lsetxattr(path, longest, new Uint8Array(1));
    assert.deepEqual(lgetxattr(path, longest), new Uint8Array(1));
    assert.throws(() => lsetxattr(path, `${longest}n`, new Uint8Array(1)), (e) => isErrno(e, "ERANGE"));
    assert.throws(() => lsetxattr(path, "user.a", new Uint8Array(65537)), (e) => isErrno(e, "E2BIG"));
    assert.throws(() => lsetxattr(path, "nowhere.a", new Uint8Array(1)), (e) => isErrno(e, "EOPNOTSUPP"));
    assert.throws(() => lgetxattr(`${path}x`, "user.a"), (e) => isErrno(e, "ENOENT"));
  }),
);

Deno.test(
  "an open file has the attributes of its path, an O_PATH descriptor through /proc",
  withFile((path) => {
    using file = open(path, O.RDWR);
    fsetxattr(file, "user.a", bytesOf("1"));
    assert.deepEqual(getxattr(path, "user.a"), bytesOf("1"));
    assert.deepEqual(texts(listxattr(path)), ["user.a"]);
    using handle = open(path, O.PATH);
    assert.throws(() => fsetxattr(handle, "user.a", bytesOf("1")), (e) => isErrno(e, "EBADF"));
    assert.throws(() => fremovexattr(handle, "user.a"), (e) => isErrno(e, "EBADF"));
    assert.deepEqual(getxattr(procFdPath(handle), "user.a"), bytesOf("1"));
    setxattr(procFdPath(handle), "user.b", bytesOf("2"));
    assert.deepEqual(texts(listxattr(procFdPath(handle))), ["user.a", "user.b"]);
    fremovexattr(file, "user.a");
    fremovexattr(file, "user.b");
    assert.deepEqual(listxattr(path), []);
  }),
);

Deno.test({
  name: "a symbolic link has its own attributes",
  ignore: !root,
  fn() {
    using temp = TempDir.make();
    using dir = open(temp.path, O.RDONLY);
    symlinkat("missing", dir, "s");
    lsetxattr(temp.join("s"), "trusted.a", bytesOf("1"));
    assert.throws(() => getxattr(temp.join("s"), "trusted.a"), (e) => isErrno(e, "ENOENT"));
    using link = openat(dir, "s", O.PATH | O.NOFOLLOW);
    assert.deepEqual(getxattr(procFdPath(link), "trusted.a"), bytesOf("1"));
    assert.deepEqual(lgetxattr(temp.join("s"), "trusted.a"), bytesOf("1"));
    assert.throws(() => lsetxattr(temp.join("s"), "user.a", bytesOf("1")), (e) => isErrno(e, "EPERM"));
  },
});

Deno.test("a list of names is split at NULs", () => {
  assert.deepEqual(splitNames(bytesOf("")), []);
  assert.deepEqual(texts(splitNames(bytesOf("user.a\0user.b\0"))), ["user.a", "user.b"]);
  assert.deepEqual(texts(splitNames(bytesOf("a\0cut"))), ["a", "cut"]);
});

Deno.test("a file system without attributes is reported as such", () => {
  assert.throws(() => lgetxattr("/proc/self/stat", "user.a"), (e) => isErrno(e, "EOPNOTSUPP"));
});
