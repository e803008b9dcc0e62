import assert from "node:assert/strict";
import fc from "fast-check";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { TempDir } from "../tests/support/temp_dir.ts";
import { isErrno } from "./errno.ts";
import { AT, O, open, openat } from "./fcntl.ts";
import {
  decodeStatx,
  encodeTimes,
  fchmod,
  fchmodat,
  fstat,
  futimens,
  major,
  makedev,
  minor,
  mkdirat,
  mknodat,
  S,
  statat,
  STATX,
  utimensat,
} from "./sys_stat.ts";
import { ftruncate, geteuid, symlinkat } from "./unistd.ts";

const root = geteuid() === 0;
if (!root) console.log("skipped without root: device nodes");

const STATX_BYTES = goldenBytes(`
  ff 17 00 00               stx_mask: BASIC_STATS | BTIME 0x800 (absent) | MNT_ID
  00 10 00 00               stx_blksize 4096
  00 20 00 00 00 00 00 00   stx_attributes: MOUNT_ROOT
  02 00 00 00               stx_nlink 2
  e8 03 00 00               stx_uid 1000
  fe ff ff ff               stx_gid 4294967294
  a4 81                     stx_mode 0100644
  00 00                     spare
  01 00 00 00 00 00 20 00   stx_ino 2^53 + 1
  05 00 00 00 01 00 00 00   stx_size 4 GiB + 5
  08 00 00 00 00 00 00 00   stx_blocks 8
  00 20 00 00 00 00 00 00   stx_attributes_mask: MOUNT_ROOT
  ff ff ff ff ff ff ff ff   stx_atime: -1 s
  ff c9 9a 3b 00 00 00 00     999999999 ns
  00 00 00 00 00 00 00 00   stx_btime
  00 00 00 00 00 00 00 00
  00 00 00 80 00 00 00 00   stx_ctime: 2^31 s
  01 00 00 00 00 00 00 00     1 ns
  00 00 00 00 fe ff ff ff   stx_mtime: -2^33 s
  00 00 00 00 00 00 00 00
  08 00 00 00               stx_rdev_major 8
  34 12 00 00               stx_rdev_minor 0x1234
  03 01 00 00               stx_dev_major 0x103
  02 00 00 00               stx_dev_minor 2
  2a 00 00 00 00 00 00 00   stx_mnt_id 42
`);

function statxView(): DataView<ArrayBuffer> {
  const bytes = new Uint8Array(STATX.SIZE);
  bytes.set(STATX_BYTES);
  return new DataView(bytes.buffer);
}

Deno.test("struct statx is parsed as linux/stat.h defines it", () => {
  assert.deepEqual(decodeStatx(statxView(), "x"), {
    dev: makedev(0x103, 2),
    ino: 2n ** 53n + 1n,
    mode: 0o100644,
    nlink: 2,
    uid: 1000,
    gid: 4294967294,
    rdev: 0x01200834,
    size: 2 ** 32 + 5,
    blocks: 8,
    atimeSec: -1,
    atimeNsec: 999999999,
    mtimeSec: -(2 ** 33),
    mtimeNsec: 0,
    ctimeSec: 2 ** 31,
    ctimeNsec: 1,
    mountId: 42,
    isMountRoot: true,
  });
});

Deno.test("a size beyond 2^53 is EOVERFLOW, as in a 32-bit stat", () => {
  const view = statxView();
  view.setBigUint64(STATX.size, 2n ** 53n, true);
  assert.throws(() => decodeStatx(view, "big"), { message: 'Cannot stat "big": EOVERFLOW' });
});

Deno.test("the mount id is undefined where the kernel does not report it", () => {
  const view = statxView();
  view.setUint32(STATX.mask, 0x7ff, true);
  view.setUint32(STATX.attributesMask, 0, true);
  const { mountId, isMountRoot } = decodeStatx(view, "x");
  assert.deepEqual([mountId, isMountRoot], [undefined, undefined]);
});

Deno.test("a device number has 12 bits of major and 20 of minor", () => {
  assert.equal(makedev(8, 1), 0x801); // new_encode_dev, linux/kdev_t.h
  assert.equal(makedev(0xfff, 0xfffff), 0xffff_ffff);
  fc.assert(fc.property(fc.nat(0xfff), fc.nat(0xfffff), (a, b) => {
    const dev = makedev(a, b);
    assert.deepEqual([major(dev), minor(dev), dev >= 0], [a, b, true]);
  }));
  for (const [a, b] of [[4096, 0], [0, 1 << 20], [-1, 0], [NaN, 0]] as const) {
    assert.throws(() => makedev(a, b), RangeError);
  }
});

Deno.test("attributes agree with those of Deno.stat", () => {
  for (const path of ["/", "/dev/null", "/proc/self/stat", Deno.execPath()]) {
    const theirs = Deno.statSync(path);
    const ours = statat(AT.FDCWD, path);
    assert.equal(ours.ino, theirs.ino, path);
    assert.equal(ours.mode, theirs.mode, path);
    assert.equal(ours.nlink, theirs.nlink, path);
    assert.equal(ours.uid, theirs.uid, path);
    assert.equal(ours.gid, theirs.gid, path);
    assert.equal(ours.size, theirs.size, path);
    assert.equal(ours.blocks, theirs.blocks, path);
    assert.equal(ours.dev, theirs.dev, path);
    assert.equal(ours.rdev, theirs.rdev, path);
    const mtime = theirs.mtime?.getTime() ?? NaN;
    assert.equal(Number(ours.mtimeSec) * 1000 + Math.floor(ours.mtimeNsec / 1e6), mtime, path);
  }
  assert.equal(statat(AT.FDCWD, "/proc").isMountRoot, true);
  assert.equal(statat(AT.FDCWD, "/proc/self").isMountRoot, false);
});

Deno.test("a link, its target and an open file are examined separately", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.PATH);
  symlinkat("missing", dir, "s");
  assert.equal(statat(dir, "s", AT.SYMLINK_NOFOLLOW).mode & S.IFMT, S.IFLNK);
  assert.throws(() => statat(dir, "s"), { message: 'Cannot stat "s": ENOENT' });
  assert.equal(statat(dir, "", AT.EMPTY_PATH).ino, fstat(dir).ino);
  using link = openat(dir, "s", O.PATH | O.NOFOLLOW);
  assert.equal(fstat(link).mode & S.IFMT, S.IFLNK);
  assert.throws(() => statat(dir, ""), { message: `Cannot stat "fd ${dir.raw}": ENOENT` });
  assert.throws(() => fstat(1 << 20), (e) => isErrno(e, "EBADF"));
});

Deno.test("struct timespec[2] is encoded as the kernel expects it", () => {
  assert.deepEqual(
    encodeTimes({ atime: { sec: -1, nsec: 999999999 }, mtime: { sec: 2 ** 33, nsec: 1 } }),
    goldenBytes(`
      ff ff ff ff ff ff ff ff   atime: -1 s
      ff c9 9a 3b 00 00 00 00     999999999 ns
      00 00 00 00 02 00 00 00   mtime: 2^33 s
      01 00 00 00 00 00 00 00     1 ns
    `),
  );
  assert.deepEqual(
    encodeTimes({ atime: "now", mtime: "omit" }),
    goldenBytes(`
      00 00 00 00 00 00 00 00
      ff ff ff 3f 00 00 00 00   atime: UTIME_NOW
      00 00 00 00 00 00 00 00
      fe ff ff 3f 00 00 00 00   mtime: UTIME_OMIT
    `),
  );
});

Deno.test("times are set to the nanosecond, also before 1970 and after 2038, or left unchanged", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  Deno.writeTextFileSync(temp.join("f"), "");
  symlinkat("f", dir, "s");
  utimensat(dir, "f", { atime: { sec: -5, nsec: 7 }, mtime: { sec: 2 ** 32 + 1, nsec: 999999999 } }, 0);
  utimensat(dir, "s", { atime: "omit", mtime: { sec: 11, nsec: 12 } }, AT.SYMLINK_NOFOLLOW);
  const file = statat(dir, "f");
  assert.deepEqual([file.atimeSec, file.atimeNsec, file.mtimeSec, file.mtimeNsec], [-5, 7, 2 ** 32 + 1, 999999999]);
  const link = statat(dir, "s", AT.SYMLINK_NOFOLLOW);
  assert.deepEqual([link.mtimeSec, link.mtimeNsec], [11, 12]);
  using fd = openat(dir, "f", O.RDONLY);
  futimens(fd, { atime: "omit", mtime: { sec: 1, nsec: 2 } });
  assert.deepEqual([fstat(fd).atimeSec, fstat(fd).mtimeSec, fstat(fd).mtimeNsec], [-5, 1, 2]);
  utimensat(dir, "f", { atime: "omit", mtime: "now" }, 0);
  assert.ok(fstat(fd).mtimeSec > 1.6e9);
  assert.throws(() => utimensat(dir, "f", { atime: "omit", mtime: { sec: 0, nsec: 1e9 } }, 0), RangeError);
  assert.throws(() => utimensat(dir, "none", { atime: "now", mtime: "omit" }, 0), (e) => isErrno(e, "ENOENT"));
});

Deno.test("permissions are set on files, never through a symbolic link", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  Deno.writeTextFileSync(temp.join("f"), "");
  symlinkat("f", dir, "s");
  fchmodat(dir, "f", S.IFREG | 0o4711);
  assert.equal(statat(dir, "f").mode, S.IFREG | 0o4711);
  assert.throws(() => fchmodat(dir, "s", 0o777), (e) => isErrno(e, "EOPNOTSUPP"));
  assert.equal(statat(dir, "f").mode, S.IFREG | 0o4711);
  using file = openat(dir, "f", O.RDONLY);
  fchmod(file, 0o600);
  assert.equal(fstat(file).mode, S.IFREG | 0o600);
  using path = openat(dir, "f", O.PATH);
  assert.throws(() => fchmod(path, 0o600), (e) => isErrno(e, "EBADF"));
});

Deno.test("directories, pipes and sockets are created with their modes, less the umask", () => {
  using temp = TempDir.make();
  using dir = open(temp.path, O.RDONLY);
  const before = Deno.umask(0o022);
  try {
    mkdirat(dir, "d", 0o1777);
    mknodat(dir, "p", S.IFIFO | 0o666, 0);
    mknodat(dir, "k", S.IFSOCK | 0o600, 0);
    mknodat(dir, "r", S.IFREG | 0o600, 0);
  } finally {
    assert.equal(Deno.umask(before), 0o022);
  }
  assert.equal(statat(dir, "d").mode, S.IFDIR | 0o1755);
  assert.equal(statat(dir, "p").mode, S.IFIFO | 0o644);
  assert.equal(statat(dir, "k").mode, S.IFSOCK | 0o600);
  assert.equal(statat(dir, "r").mode, S.IFREG | 0o600);
  assert.throws(() => mkdirat(dir, "d", 0o700), (e) => isErrno(e, "EEXIST"));
  assert.throws(() => mknodat(dir, "p", S.IFIFO, 0), (e) => isErrno(e, "EEXIST"));
});

Deno.test({
  name: "device nodes keep all bits of their device number",
  ignore: !root,
  fn() {
    using temp = TempDir.make();
    using dir = open(temp.path, O.RDONLY);
    mknodat(dir, "c", S.IFCHR | 0o600, makedev(0xfff, 0xabcde));
    mknodat(dir, "b", S.IFBLK | 0o600, makedev(8, 17));
    mknodat(dir, "whiteout", S.IFCHR, 0);
    const c = statat(dir, "c");
    assert.deepEqual([c.mode & S.IFMT, major(c.rdev), minor(c.rdev)], [S.IFCHR, 0xfff, 0xabcde]);
    assert.deepEqual([statat(dir, "b").mode & S.IFMT, statat(dir, "b").rdev], [S.IFBLK, 0x811]);
    assert.equal(statat(dir, "whiteout").rdev, 0);
  },
});

Deno.test("size and allocated blocks of a sparse file are reported separately", () => {
  using temp = TempDir.make();
  using file = open(temp.join("f"), O.CREAT | O.RDWR);
  ftruncate(file, 2 ** 40);
  assert.deepEqual([fstat(file).size, fstat(file).blocks], [2 ** 40, 0]);
});
