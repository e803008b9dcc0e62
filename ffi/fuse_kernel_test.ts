import assert from "node:assert/strict";
import fc from "fast-check";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { allowIdmap, DirectoryListing, hasIdmap, setInt64 } from "./fuse_kernel.ts";

const ascii = (text: string) => new TextEncoder().encode(text);

Deno.test("an entry of READDIR is struct fuse_dirent, padded to 8 bytes", () => {
  const list = new DirectoryListing(new Uint8Array(64));
  list.reset(64);
  assert.equal(list.add(ascii("sh"), 0x1_0000_0007, 8, 3), true);
  assert.deepEqual(
    list.bytes.subarray(0, list.used),
    goldenBytes(`
    07 00 00 00 01 00 00 00  ino
    03 00 00 00 00 00 00 00  off
    02 00 00 00 08 00 00 00  namelen, type DT_REG
    73 68 00 00 00 00 00 00  "sh"
  `),
  );
});

Deno.test("an entry of READDIRPLUS is struct fuse_entry_out before struct fuse_dirent", () => {
  const list = new DirectoryListing(new Uint8Array(160).fill(0xee));
  list.reset(160);
  const attr = {
    ino: 5,
    mode: 0o20600,
    nlink: 1,
    uid: 1,
    gid: 2,
    rdev: 0x0103,
    size: 0,
    mtime: 1_700_000_000,
    mtimeNsec: 7,
  };
  assert.equal(list.addPlus(ascii("null"), (9n << 40n) | 5n, attr, 1_000_000_000, 1), true);
  assert.deepEqual(
    list.bytes.subarray(0, list.used),
    goldenBytes(`
    05 00 00 00 00 09 00 00  nodeid: image 9, inode 5
    00 00 00 00 00 00 00 00  generation
    00 ca 9a 3b 00 00 00 00  entry_valid 1e9
    00 ca 9a 3b 00 00 00 00  attr_valid 1e9
    00 00 00 00 00 00 00 00  entry_valid_nsec, attr_valid_nsec
    05 00 00 00 00 00 00 00  attr.ino
    00 00 00 00 00 00 00 00  attr.size
    00 00 00 00 00 00 00 00  attr.blocks
    00 f1 53 65 00 00 00 00  attr.atime 1700000000
    00 f1 53 65 00 00 00 00  attr.mtime
    00 f1 53 65 00 00 00 00  attr.ctime
    07 00 00 00 07 00 00 00  attr.atimensec, attr.mtimensec
    07 00 00 00 80 21 00 00  attr.ctimensec, attr.mode 020600
    01 00 00 00 01 00 00 00  attr.nlink, attr.uid
    02 00 00 00 03 01 00 00  attr.gid, attr.rdev 1:3
    00 10 00 00 00 00 00 00  attr.blksize, attr.flags
    05 00 00 00 00 00 00 00  ino
    01 00 00 00 00 00 00 00  off
    04 00 00 00 02 00 00 00  namelen, type DT_CHR
    6e 75 6c 6c 00 00 00 00  "null"
  `),
  );
});

Deno.test("an entry that does not fit leaves the listing unchanged", () => {
  const list = new DirectoryListing(new Uint8Array(4096));
  list.reset(32 + 40);
  assert.equal(list.add(ascii("12345678"), 1, 8, 1), true);
  assert.equal(list.used, 32);
  assert.equal(list.add(ascii("123456789abcdefgh"), 2, 8, 2), false);
  assert.equal(list.addPlain(ascii("a"), 2, 8, 2), false);
  assert.equal(list.used, 32);
  assert.equal(list.add(ascii("123456789abcdefg"), 2, 8, 2), true);
  assert.equal(list.used, 72);
});

Deno.test("64-bit integers are written as two's complement", () => {
  const view = new DataView(new ArrayBuffer(8));
  fc.assert(fc.property(fc.maxSafeInteger(), (value) => {
    setInt64(view, 0, value);
    assert.equal(view.getBigInt64(0, true), BigInt(value));
  }));
  fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
    setInt64(view, 0, value);
    assert.equal(view.getBigInt64(0, true), value);
  }));
});

Deno.test("idmapped mounts are allowed by bit 40 of the flags in struct fuse_init_out", () => {
  const reply = goldenBytes(`
    50 00 00 00 00 00 00 00  len 80, error
    02 00 00 00 00 00 00 00  unique
    07 00 00 00 26 00 00 00  major, minor
    00 00 02 00 29 e0 84 00  max_readahead, flags
    80 00 60 00 00 00 10 00  max_background, congestion_threshold, max_write
    01 00 00 00 00 01 00 00  time_gran, max_pages, map_alignment
    ff ff ff ff 00 00 00 00  flags2 that does not count, max_stack_depth
  `);
  const whole = new Uint8Array(80);
  whole.set(reply);
  const allowed = whole.slice();
  allowIdmap(allowed);
  whole.set([0x29, 0xe0, 0x84, 0x40], 28); // FUSE_INIT_EXT
  whole.set([0, 1, 0, 0], 48);
  assert.deepEqual(allowed, whole);

  const refused = whole.slice();
  refused.set([0xb9, 0xff, 0xff, 0xff], 4); // -EPROTO
  allowIdmap(refused);
  assert.deepEqual(refused.subarray(28), whole.subarray(28));
});

Deno.test("a kernel offers idmapped mounts by bit 40 of the flags in struct fuse_init_in", () => {
  const init = new Uint8Array(40 + 64);
  assert.equal(hasIdmap(init), false);
  init[40 + 16 + 1] = 1;
  assert.equal(hasIdmap(init), true);
  assert.equal(hasIdmap(init.subarray(0, 40 + 16)), false); // before 7.36
});
