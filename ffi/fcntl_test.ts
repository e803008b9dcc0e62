import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import {
  AT,
  dropPages,
  encodeOpenHow,
  FALLOC,
  fallocate,
  isOpenElsewhere,
  O,
  open,
  openat,
  openat2,
  RESOLVE,
} from "./fcntl.ts";
import { fstat, statat } from "./sys_stat.ts";
import { lseek, pwriteAll, read, SEEK, writeAll } from "./unistd.ts";

Deno.test("struct open_how is laid out as linux/openat2.h says", () => {
  const directory = { x86_64: "00 00 09 00", aarch64: "00 40 08 00" }[Deno.build.arch];
  const wanted = goldenBytes(`
    ${directory} 00 00 00 00   flags: O_DIRECTORY | O_CLOEXEC
    a4 01 00 00 00 00 00 00    mode: 0644
    18 00 00 00 00 00 00 00    resolve: BENEATH | IN_ROOT
  `);
  const flags = O.DIRECTORY;
  assert.deepEqual(encodeOpenHow({ flags, mode: 0o644, resolve: RESOLVE.BENEATH | RESOLVE.IN_ROOT }), wanted);
});

Deno.test("names of any bytes up to 255 can be opened, 256 bytes are ENAMETOOLONG", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY | O.DIRECTORY);
  const nonUtf8 = new Uint8Array([0xff, 0x80, 0xfe, 0x0a]);
  const longest = new Uint8Array(255).fill(0xc3);
  for (const name of [nonUtf8, longest, "é".repeat(127)]) {
    openat(dir, name, O.CREAT | O.EXCL | O.WRONLY, 0o640)[Symbol.dispose]();
    assert.equal(statat(dir, name).mode, 0o100640);
  }
  assert.throws(
    () => openat(dir, new Uint8Array(256).fill(0x61), O.CREAT | O.WRONLY),
    (e) => isErrno(e, "ENAMETOOLONG"),
  );
  assert.throws(() => open("x/".repeat(4000), O.RDONLY), (e) => isErrno(e, "ENAMETOOLONG"));
});

Deno.test("a failed open names the file and the reason", () => {
  using temp = TempDir.make();
  assert.throws(() => open(temp.join("none"), O.RDONLY), { message: `Cannot open "${temp.join("none")}": ENOENT` });
  assert.throws(() => open(temp.path, O.WRONLY), (e) => isErrno(e, "EISDIR"));
  Deno.symlinkSync("/etc", temp.join("link"));
  assert.throws(() => open(temp.join("link"), O.RDONLY | O.NOFOLLOW), (e) => isErrno(e, "ELOOP"));
  Deno.writeTextFileSync(temp.join("file"), "");
  assert.throws(() => open(temp.join("file"), O.RDONLY | O.DIRECTORY), (e) => isErrno(e, "ENOTDIR"));
});

Deno.test("a file is open elsewhere as long as another descriptor reads or writes it", () => {
  using temp = TempDir.make();
  Deno.writeTextFileSync(temp.join("file"), "x");
  using file = open(temp.join("file"), O.RDONLY);
  assert.equal(isOpenElsewhere(file), false);
  for (const flags of [O.RDONLY, O.RDWR]) {
    using _other = open(temp.join("file"), flags);
    assert.equal(isOpenElsewhere(file), true);
  }
  assert.equal(isOpenElsewhere(file), false);
  assert.equal(Deno.readTextFileSync(temp.join("file")), "x", "no lease is left");
});

Deno.test("openat2 confines a lookup to its directory", () => {
  using temp = TempDir.make();
  Deno.mkdirSync(temp.join("root/etc"), { recursive: true });
  Deno.writeTextFileSync(temp.join("root/etc/passwd"), "inside");
  Deno.symlinkSync("/etc", temp.join("root/absolute"));
  Deno.symlinkSync("../../../../etc", temp.join("root/up"));
  using root = open(temp.join("root"), O.PATH | O.DIRECTORY);
  for (const name of ["absolute/passwd", "up/passwd", "/etc/passwd", "../../etc/passwd"]) {
    using file = openat2(root, name, { flags: O.RDONLY, resolve: RESOLVE.IN_ROOT });
    const bytes = new Uint8Array(6);
    read(file, bytes);
    assert.equal(new TextDecoder().decode(bytes), "inside", name);
  }
  const beneath = (name: string) => openat2(root, name, { flags: O.RDONLY, resolve: RESOLVE.BENEATH });
  assert.throws(() => beneath("absolute/passwd"), (e) => isErrno(e, "EXDEV"));
  assert.throws(() => beneath("up/passwd"), (e) => isErrno(e, "EXDEV"));
  const plain = { flags: O.RDONLY, resolve: RESOLVE.NO_SYMLINKS };
  assert.throws(() => openat2(root, "absolute", plain), (e) => isErrno(e, "ELOOP"));
});

Deno.test("openat2 refuses a mode without O_CREAT", () => {
  const how = { flags: O.RDONLY, mode: 0o600, resolve: 0 };
  assert.throws(() => openat2(AT.FDCWD, "/dev/null", how), (e) => isErrno(e, "EINVAL"));
});

Deno.test("every open is close-on-exec", () => {
  for (const fd of [open("/dev/null", O.RDONLY), openat2(AT.FDCWD, "/dev/null", { flags: O.RDONLY, resolve: 0 })]) {
    using _ = fd;
    assert.match(Deno.readTextFileSync(`/proc/self/fdinfo/${fd.raw}`), /^flags:\s*0*2\d{6}$/m);
  }
});

Deno.test("fallocate grows a file and punches a hole into it", () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  fallocate(file, 0, 0, 65536);
  assert.equal(fstat(file).size, 65536);
  pwriteAll(file, new Uint8Array(65536).fill(1), 0);
  fallocate(file, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 16384, 16384);
  assert.equal(lseek(file, 0, SEEK.HOLE), 16384);
  assert.equal(lseek(file, 16384, SEEK.DATA), 32768);
  assert.throws(() => fallocate(file, 0, 0, 0), (e) => isErrno(e, "EINVAL"));
});

Deno.test("O_TMPFILE creates a file without a name", () => {
  using temp = TempDir.make();
  using file = open(temp.path, O.TMPFILE | O.RDWR);
  writeAll(file, new Uint8Array([1]));
  assert.equal(fstat(file).nlink, 0);
});

Deno.test("page cache of a file can be dropped, of a pipe not", async () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  writeAll(file, new Uint8Array([1]));
  dropPages(file);
  await new Deno.Command("mkfifo", { args: [temp.join("pipe")] }).output();
  using pipe = open(temp.join("pipe"), O.RDWR);
  assert.throws(() => dropPages(pipe), (e) => isErrno(e, "ESPIPE"));
});
