import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { decodeDirents, DT, readDirectory } from "./dirent.ts";
import { isErrno } from "./errno.ts";
import { AT, O, open, openat } from "./fcntl.ts";
import { statat } from "./sys_stat.ts";
import { symlinkat } from "./unistd.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

Deno.test("struct linux_dirent64 is parsed as the kernel packs it", () => {
  const records = goldenBytes(`
    02 00 00 00 00 00 00 00   d_ino 2
    01 00 00 00 00 00 00 00   d_off
    18 00                     d_reclen 24
    04                        d_type DT_DIR
    2e 00 00 00 00            d_name "."
    02 00 00 00 00 00 00 00   d_ino 2
    02 00 00 00 00 00 00 00   d_off
    18 00                     d_reclen 24
    04                        d_type DT_DIR
    2e 2e 00 00 00            d_name ".."
    ff ff ff ff ff ff 1f 00   d_ino 2^53 - 1
    03 00 00 00 00 00 00 00   d_off
    18 00                     d_reclen 24
    08                        d_type DT_REG
    2e 61 00 6a 6b            d_name ".a", padding that was never cleared
    00 00 00 00 00 00 20 00   d_ino 2^53
    ff ff ff ff ff ff ff 7f   d_off
    20 00                     d_reclen 32
    0a                        d_type DT_LNK
    2e 2e ff 78 00 00 00 00   d_name "..\\xffx"
    00 00 00 00 00
  `);
  assert.deepEqual([...decodeDirents(records)], [
    { name: new Uint8Array([0x2e, 0x61]), ino: 2 ** 53 - 1, type: DT.REG },
    { name: new Uint8Array([0x2e, 0x2e, 0xff, 0x78]), ino: 2n ** 53n, type: DT.LNK },
  ]);
});

Deno.test("a record of size zero ends the listing instead of looping", () => {
  assert.throws(() => [...decodeDirents(new Uint8Array(24))], RangeError);
});

Deno.test("a directory is listed with inodes, types and names of any bytes, twice with the same result", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY | O.DIRECTORY);
  const nonUtf8 = new Uint8Array([0xff, 0xfe]);
  openat(dir, nonUtf8, O.CREAT | O.WRONLY)[Symbol.dispose]();
  Deno.mkdirSync(temp.join("d"));
  symlinkat("x", dir, "s");
  const first = [...readDirectory(dir)];
  assert.deepEqual([...readDirectory(dir)], first);
  assert.equal(first.length, 3);
  for (const entry of first) {
    const stat = statat(dir, entry.name, AT.SYMLINK_NOFOLLOW);
    assert.equal(entry.ino, stat.ino);
    assert.equal(entry.type, stat.mode >> 12);
  }
  assert.ok(first.some((entry) => entry.name.length === 2 && entry.name[0] === 0xff));
});

Deno.test("a directory larger than one getdents64 buffer is listed completely", () => {
  using temp = TempDir.make();
  const names = Array.from({ length: 300 }, (_, i) => `${i}-`.padEnd(250, "n"));
  for (const name of names) Deno.writeTextFileSync(temp.join(name), "");
  using dir = open(temp.path, O.RDONLY | O.DIRECTORY);
  assert.deepEqual([...readDirectory(dir)].map((entry) => text(entry.name)).sort(), names.sort());
});

Deno.test("a file, and a directory opened with O_PATH, cannot be listed", () => {
  using file = open("/dev/null", O.RDONLY);
  assert.throws(() => [...readDirectory(file)], (e) => isErrno(e, "ENOTDIR"));
  using path = open("/", O.PATH);
  assert.throws(() => [...readDirectory(path)], (e) => isErrno(e, "EBADF"));
});
