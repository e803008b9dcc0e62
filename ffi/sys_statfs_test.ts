import assert from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { isErrno } from "./errno.ts";
import { decodeStatfs, FS_MAGIC, fsName, STATFS, statfs } from "./sys_statfs.ts";

Deno.test("struct statfs is parsed as asm-generic/statfs.h defines it", () => {
  const bytes = goldenBytes(`
    53 ef 00 00 00 00 00 00   f_type ext4
    00 10 00 00 00 00 00 00   f_bsize 4096
    00 00 00 00 01 00 00 00   f_blocks 2^32
    03 00 00 00 00 00 00 00   f_bfree 3
    02 00 00 00 00 00 00 00   f_bavail 2
    64 00 00 00 00 00 00 00   f_files 100
    32 00 00 00 00 00 00 00   f_ffree 50
    01 02 03 04 05 06 07 08   f_fsid
    ff 00 00 00 00 00 00 00   f_namelen 255
    00 02 00 00 00 00 00 00   f_frsize 512
    20 10 00 00 00 00 00 00   f_flags
    00 00 00 00 00 00 00 00   f_spare
    00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00
    00 00 00 00 00 00 00 00
  `);
  assert.equal(bytes.length, STATFS.SIZE);
  assert.deepEqual(decodeStatfs(new DataView(bytes.buffer)), {
    type: FS_MAGIC.ext4,
    blockSize: 512,
    blocks: 2 ** 32,
    freeBlocks: 3,
    availableBlocks: 2,
    files: 100,
    freeFiles: 50,
    nameLength: 255,
  });
  new DataView(bytes.buffer).setUint32(STATFS.frsize, 0, true);
  assert.equal(decodeStatfs(new DataView(bytes.buffer)).blockSize, 4096);
});

Deno.test("known file systems have names, others a number", () => {
  assert.equal(fsName(FS_MAGIC.btrfs), "btrfs");
  assert.equal(fsName(0x9fa0), "0x9fa0");
});

Deno.test("a mounted file system reports its size in the units of df", () => {
  const { stdout } = new Deno.Command("stat", { args: ["-f", "-c", "%t %S %b %c %l", "/"] }).outputSync();
  const status = statfs("/");
  const seen = [status.type.toString(16), status.blockSize, status.blocks, status.files, status.nameLength].join(" ");
  assert.equal(seen, new TextDecoder().decode(stdout).trim());
  assert.throws(() => statfs("/nowhere"), (e) => isErrno(e, "ENOENT"));
});
