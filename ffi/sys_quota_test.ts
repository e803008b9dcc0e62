import { deepEqual, equal } from "node:assert/strict";
import { goldenBytes } from "../tests/support/golden_bytes.ts";
import { O, open } from "./fcntl.ts";
import { decodeDiskQuota, DISK_QUOTA, encodeLimit, enforcesProjects } from "./sys_quota.ts";

const LIMIT = goldenBytes(`
  01                        d_version
  02                        d_flags: project
  0c 00                     d_fieldmask: BSOFT | BHARD
  2a 00 00 80               d_id 2^31 + 42
  03 00 00 00 01 00 00 00   d_blk_hardlimit: 2 TiB and 1025 bytes in blocks of 512, rounded up
  03 00 00 00 01 00 00 00   d_blk_softlimit
`);

Deno.test("a limit sets the block limit of a project and nothing else", () => {
  const encoded = encodeLimit(2 ** 31 + 42, 2 ** 41 + 1025);
  equal(encoded.length, DISK_QUOTA.SIZE);
  deepEqual(encoded.subarray(0, LIMIT.length), new Uint8Array(LIMIT));
  deepEqual(encoded.subarray(LIMIT.length), new Uint8Array(DISK_QUOTA.SIZE - LIMIT.length));
});

Deno.test("limit and usage are read in bytes", () => {
  const bytes = encodeLimit(7, 4096);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(DISK_QUOTA.bcount, 3n, true);
  view.setBigUint64(DISK_QUOTA.icount, 2n, true);
  deepEqual(decodeDiskQuota(view), { hardLimitBytes: 4096, usedBytes: 1536, usedInodes: 2 });
});

Deno.test("a file system without project quotas enforces no limit", () => {
  using proc = open("/proc", O.RDONLY | O.DIRECTORY);
  equal(enforcesProjects(proc), false);
});
