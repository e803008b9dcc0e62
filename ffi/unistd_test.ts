import assert from "node:assert/strict";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { AT, O, open, openat } from "./fcntl.ts";
import { fstat, statat } from "./sys_stat.ts";
import {
  fchownat,
  fsync,
  ftruncate,
  geteuid,
  linkat,
  lseek,
  pread,
  preadExact,
  pwriteAll,
  read,
  readlinkat,
  RENAME,
  renameat2,
  SEEK,
  symlinkat,
  syncfs,
  unlinkat,
  write,
  writeAll,
  writeAllOffThread,
} from "./unistd.ts";

const root = geteuid() === 0;
if (!root) console.log("skipped without root: changing owners");
const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

Deno.test("written bytes are read back, at the file position and at given offsets", () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  assert.equal(write(file, bytesOf("hello ")), 6);
  writeAll(file.raw, bytesOf("world"));
  pwriteAll(file, bytesOf("W"), 6);
  assert.equal(lseek(file, 0, SEEK.CUR), 11);
  const buffer = new Uint8Array(16);
  assert.equal(pread(file, buffer, 6), 5);
  assert.deepEqual(buffer.subarray(0, 5), bytesOf("World"));
  assert.equal(pread(file, buffer, 11), 0);
  assert.equal(read(file, buffer), 0);
  lseek(file, -5, SEEK.END);
  assert.equal(read(file, buffer.subarray(3, 5)), 2);
  assert.deepEqual(buffer.subarray(3, 5), bytesOf("Wo"));
});

Deno.test("offsets beyond 4 GiB are passed unchanged", () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  const at = 5 * 2 ** 32 + 7;
  pwriteAll(file, bytesOf("x"), at);
  const buffer = new Uint8Array(1);
  preadExact(file, buffer, at);
  assert.deepEqual(buffer, bytesOf("x"));
  assert.equal(fstat(file).size, at + 1);
  ftruncate(file, at - 1);
  assert.equal(fstat(file).size, at - 1);
  assert.equal(lseek(file, at - 2, SEEK.SET), at - 2);
  ftruncate(file, 2 ** 32);
  assert.throws(() => lseek(file, 0, SEEK.DATA), (e) => isErrno(e, "ENXIO"));
});

Deno.test("a read into shared memory is visible there", () => {
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("f"), "abc");
  using file = open(temp.join("f"), O.RDONLY);
  const shared = new Uint8Array(new SharedArrayBuffer(8), 2, 3);
  assert.equal(pread(file, shared, 0), 3);
  assert.deepEqual([...shared], [...bytesOf("abc")]);
});

Deno.test("an exact read past the end reports where the file ends", () => {
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("f"), "abc");
  using file = open(temp.join("f"), O.RDONLY);
  assert.throws(() => preadExact(file, new Uint8Array(4), 1), {
    message: `Cannot read "fd ${file.raw}": EIO (4 bytes at 1 asked, end of file at 3)`,
  });
  preadExact(file, new Uint8Array(0), 3);
});

Deno.test("failed reads and writes report the errno and the descriptor", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  assert.throws(() => read(dir, new Uint8Array(1)), { message: `Cannot read "fd ${dir.raw}": EISDIR` });
  assert.throws(() => pread(dir, new Uint8Array(1), -1), (e) => isErrno(e, "EINVAL"));
  assert.throws(() => pread(dir, new Uint8Array(1), 0.5), RangeError);
  using file = open(temp.join("f"), O.CREAT | O.RDONLY);
  assert.throws(() => write(file, bytesOf("x")), (e) => isErrno(e, "EBADF"));
  assert.throws(() => pwriteAll(file, bytesOf("x"), 0), (e) => isErrno(e, "EBADF"));
  assert.throws(() => ftruncate(file, 1), (e) => isErrno(e, "EINVAL"));
  using full = open("/dev/full", O.WRONLY);
  assert.throws(() => writeAll(full, bytesOf("x")), (e) => isErrno(e, "ENOSPC"));
});

Deno.test("data is synced to disk by fsync and syncfs", () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  writeAll(file, bytesOf("x"));
  fsync(file);
  using dir = open(temp.path, O.RDONLY);
  fsync(dir);
  syncfs(dir);
  using path = open(temp.path, O.PATH);
  assert.throws(() => fsync(path), (e) => isErrno(e, "EBADF"));
});

Deno.test("hard and symbolic links may have names that are not UTF-8", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  const a = new Uint8Array([0xff, 0x61]);
  const b = new Uint8Array([0xff, 0x62]);
  openat(dir, a, O.CREAT | O.WRONLY)[Symbol.dispose]();
  linkat(dir, a, dir, b);
  assert.equal(statat(dir, b).nlink, 2);
  assert.throws(() => linkat(dir, a, dir, b), (e) => isErrno(e, "EEXIST"));
  const target = new Uint8Array([0x2f, 0xfe, 0x80]);
  symlinkat(target, dir, "s");
  assert.deepEqual(readlinkat(dir, "s"), target);
  using link = openat(dir, "s", O.PATH | O.NOFOLLOW);
  assert.deepEqual(readlinkat(link, ""), target);
  assert.throws(() => readlinkat(dir, a), (e) => isErrno(e, "EINVAL"));
  linkat(dir, "s", dir, "s2");
  assert.deepEqual(readlinkat(dir, "s2"), target);
});

Deno.test("the longest symbolic link is read completely", () => {
  using temp = TempDir.make("/dev/shm");
  using dir = open(temp.path, O.RDONLY);
  const target = new Uint8Array(4095).fill(0x61);
  symlinkat(target, dir, "s");
  assert.deepEqual(readlinkat(dir, "s"), target);
});

Deno.test("unlink and rmdir distinguish files from directories", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  Deno.mkdirSync(temp.join("d/e"), { recursive: true });
  assert.throws(() => unlinkat(dir, "d"), (e) => isErrno(e, "EISDIR"));
  assert.throws(() => unlinkat(dir, "d", AT.REMOVEDIR), (e) => isErrno(e, "ENOTEMPTY"));
  unlinkat(dir, "d/e", AT.REMOVEDIR);
  unlinkat(dir, "d", AT.REMOVEDIR);
  assert.throws(() => unlinkat(dir, "d"), { message: 'Cannot unlink "d": ENOENT' });
});

Deno.test("rename replaces, refuses to replace, or exchanges", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  Deno.writeTextFileSync(temp.join("a"), "A");
  Deno.writeTextFileSync(temp.join("b"), "B");
  assert.throws(() => renameat2(dir, "a", dir, "b", RENAME.NOREPLACE), (e) => isErrno(e, "EEXIST"));
  renameat2(dir, "a", dir, "b", RENAME.EXCHANGE);
  assert.equal(Deno.readTextFileSync(temp.join("a")), "B");
  renameat2(dir, "a", AT.FDCWD, temp.join("b"), 0);
  assert.equal(Deno.readTextFileSync(temp.join("b")), "B");
  assert.throws(() => renameat2(dir, "a", dir, "c", 0), (e) => isErrno(e, "ENOENT"));
});

Deno.test({
  name: "chown of a link and of its target are separate",
  ignore: !root,
  fn() {
    using temp = TempDir.make();
    using dir = open(temp.path, O.RDONLY);
    Deno.writeTextFileSync(temp.join("f"), "");
    symlinkat("f", dir, "s");
    fchownat(dir, "s", 0xffff_fffe, 1000, AT.SYMLINK_NOFOLLOW);
    assert.equal(statat(dir, "s", AT.SYMLINK_NOFOLLOW).uid, 0xffff_fffe);
    assert.equal(statat(dir, "f").uid, 0);
    fchownat(dir, "s", 3, -1, 0);
    assert.deepEqual([statat(dir, "f").uid, statat(dir, "f").gid], [3, 0]);
    using file = openat(dir, "f", O.PATH);
    fchownat(file, "", -1, 4, AT.EMPTY_PATH);
    assert.deepEqual([statat(dir, "f").uid, statat(dir, "f").gid], [3, 4]);
  },
});

Deno.test("an owner beyond u32 is refused instead of wrapping around to root", () => {
  for (const id of [2 ** 32, -2, 0.5, NaN]) assert.throws(() => fchownat(AT.FDCWD, "x", id, 0, 0), RangeError);
});

Deno.test("geteuid returns the user id of the process", () => {
  assert.equal(geteuid(), Deno.uid());
});

Deno.test("writes of another thread are complete, in order, and fail with its errno", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  writeAll(file, bytesOf("first "));
  const large = new Uint8Array(3 << 20).fill(0x61);
  await writeAllOffThread(file, large);
  await writeAllOffThread(file, bytesOf(" last"));
  assert.equal(fstat(file).size, 6 + large.length + 5);
  const end = new Uint8Array(7);
  preadExact(file, end, 6 + large.length - 2);
  assert.deepEqual(end, bytesOf("aa last"));
  using full = open("/dev/full", O.WRONLY);
  await assert.rejects(writeAllOffThread(full, bytesOf("x")), (e) => isErrno(e, "ENOSPC"));
});
