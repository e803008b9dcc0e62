/**
 * A small directory with every kind of file and attribute.
 *
 * @module
 */
import { AT } from "../../../ffi/fcntl.ts";
import { makedev, mknodat, S } from "../../../ffi/sys_stat.ts";
import { lsetxattr } from "../../../ffi/sys_xattr.ts";

/** Makes the directory `root`. */
export function makeSampleTree(root: string): void {
  Deno.mkdirSync(`${root}/etc/empty`, { recursive: true, mode: 0o750 });
  Deno.writeTextFileSync(`${root}/etc/small`, "text");
  Deno.writeFileSync(`${root}/etc/large`, Uint8Array.from({ length: 700_001 }, (_, i) => (i * 7 + (i >> 9)) & 0xff));
  Deno.linkSync(`${root}/etc/large`, `${root}/again`);
  Deno.symlinkSync("etc/small", `${root}/link`);
  Deno.truncateSync(`${root}/etc/small`, 300_000); // a hole
  mknodat(AT.FDCWD, `${root}/null`, S.IFCHR | 0o666, makedev(1, 3));
  mknodat(AT.FDCWD, `${root}/disk`, S.IFBLK | 0o600, makedev(259, 70_000));
  mknodat(AT.FDCWD, `${root}/pipe`, S.IFIFO | 0o640, 0);
  lsetxattr(`${root}/etc/small`, "user.note", new TextEncoder().encode("kept"));
  Deno.chownSync(`${root}/etc/large`, 70_000, 8);
  Deno.chmodSync(`${root}/etc/large`, 0o4711);
  Deno.utimeSync(`${root}/etc/small`, 1, new Date(-5_000));
  Deno.utimeSync(`${root}/etc`, 1, 981_173_106.123);
}
