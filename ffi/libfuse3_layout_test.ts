import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import type { FileAttributes } from "./fuse_kernel.ts";
import {
  CONN_INFO,
  entryParamLayout,
  FUSE_BUF,
  layoutOf,
  OPERATION_ORDER,
  STAT_LAYOUTS,
  STATVFS,
  writeStat,
} from "./libfuse3_layout.ts";

const SO3 = "libfuse3.so.3";
const SO4 = "libfuse3.so.4";

const attr: FileAttributes = {
  ino: 0x1_0000_0002,
  mode: 0o100644,
  nlink: 3,
  uid: 1000,
  gid: 1001,
  rdev: 0x0801,
  size: 5000,
  mtime: -2,
  mtimeNsec: 999_999_999,
};

Deno.test("structs have the sizes that a C compiler computes for each version of the headers", () => {
  const sizes = (soname: string, version: number) => {
    const layout = layoutOf(soname, version);
    return layout && [layout.operations * 8, layout.fuseBuf, layout.fileInfo, layout.keepCache, layout.cacheReaddir];
  };
  assert.deepEqual(sizes(SO3, 310), [352, 40, 40, 0x04, 0x40]);
  assert.deepEqual(sizes(SO3, 314), [352, 40, 40, 0x04, 0x40]);
  assert.deepEqual(sizes(SO3, 315), [352, 40, 40, 0x04, 0x80]);
  assert.deepEqual(sizes(SO3, 316), [352, 40, 40, 0x04, 0x80]);
  assert.deepEqual(sizes(SO4, 317), [360, 48, 64, 0x04, 0x40]);
  assert.deepEqual(sizes(SO4, 318), [360, 48, 64, 0x04, 0x40]);
  assert.deepEqual([FUSE_BUF.mem, FUSE_BUF.memSize, CONN_INFO.SIZE, STATVFS.SIZE], [16, 40, 128, 112]);
});

Deno.test("there is no layout for a header version that was not read", () => {
  const pairs: [string, number][] = [[SO3, 309], [SO3, 317], [SO4, 316], [SO4, 319], [SO4, 400], ["libfuse.so.2", 314]];
  for (const [soname, version] of pairs) assert.equal(layoutOf(soname, version), undefined);
});

Deno.test("operations are at the offsets that fuse_lowlevel.h declares", () => {
  const at = (name: string) => OPERATION_ORDER.indexOf(name);
  assert.deepEqual(["init", "lookup", "forget", "getattr", "setattr", "readlink"].map(at), [0, 2, 3, 4, 5, 6]);
  assert.deepEqual(["open", "read", "flush", "opendir", "readdir", "statfs"].map(at), [14, 15, 17, 20, 21, 24]);
  assert.deepEqual(["setxattr", "getxattr", "access", "create", "forget_multi"].map(at), [25, 26, 29, 30, 38]);
  assert.deepEqual(["fallocate", "readdirplus", "copy_file_range", "lseek", "tmpfile"].map(at), [40, 41, 42, 43, 44]);
});

Deno.test("struct stat has its x86-64 layout", () => {
  const layout = STAT_LAYOUTS.x86_64;
  const bytes = new Uint8Array(layout.SIZE);
  writeStat(new DataView(bytes.buffer), 0, layout, attr);
  assert.deepEqual(
    bytes,
    goldenBytes(`
    00 00 00 00 00 00 00 00  st_dev
    02 00 00 00 01 00 00 00  st_ino
    03 00 00 00 00 00 00 00  st_nlink
    a4 81 00 00 e8 03 00 00  st_mode 0100644, st_uid 1000
    e9 03 00 00 00 00 00 00  st_gid 1001
    01 08 00 00 00 00 00 00  st_rdev 8:1
    88 13 00 00 00 00 00 00  st_size 5000
    00 10 00 00 00 00 00 00  st_blksize 4096
    0a 00 00 00 00 00 00 00  st_blocks 10
    fe ff ff ff ff ff ff ff  st_atim.tv_sec -2
    ff c9 9a 3b 00 00 00 00  st_atim.tv_nsec 999999999
    fe ff ff ff ff ff ff ff  st_mtim.tv_sec
    ff c9 9a 3b 00 00 00 00  st_mtim.tv_nsec
    fe ff ff ff ff ff ff ff  st_ctim.tv_sec
    ff c9 9a 3b 00 00 00 00  st_ctim.tv_nsec
    00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00
  `),
  );
});

Deno.test("struct stat has its arm64 layout", () => {
  const layout = STAT_LAYOUTS.aarch64;
  const bytes = new Uint8Array(layout.SIZE);
  writeStat(new DataView(bytes.buffer), 0, layout, attr);
  assert.deepEqual(
    bytes,
    goldenBytes(`
    00 00 00 00 00 00 00 00  st_dev
    02 00 00 00 01 00 00 00  st_ino
    a4 81 00 00 03 00 00 00  st_mode 0100644, st_nlink
    e8 03 00 00 e9 03 00 00  st_uid 1000, st_gid 1001
    01 08 00 00 00 00 00 00  st_rdev 8:1
    00 00 00 00 00 00 00 00
    88 13 00 00 00 00 00 00  st_size 5000
    00 10 00 00 00 00 00 00  st_blksize 4096
    0a 00 00 00 00 00 00 00  st_blocks 10
    fe ff ff ff ff ff ff ff  st_atim.tv_sec -2
    ff c9 9a 3b 00 00 00 00  st_atim.tv_nsec 999999999
    fe ff ff ff ff ff ff ff  st_mtim.tv_sec
    ff c9 9a 3b 00 00 00 00  st_mtim.tv_nsec
    fe ff ff ff ff ff ff ff  st_ctim.tv_sec
    ff c9 9a 3b 00 00 00 00  st_ctim.tv_nsec
    00 00 00 00 00 00 00 00
  `),
  );
});

Deno.test("struct fuse_entry_param is 176 bytes on x86-64 and 160 on arm64", () => {
  assert.deepEqual(entryParamLayout(STAT_LAYOUTS.x86_64), {
    SIZE: 176,
    ino: 0,
    attr: 16,
    attrTimeout: 160,
    entryTimeout: 168,
  });
  assert.deepEqual(entryParamLayout(STAT_LAYOUTS.aarch64), {
    SIZE: 160,
    ino: 0,
    attr: 16,
    attrTimeout: 144,
    entryTimeout: 152,
  });
});
