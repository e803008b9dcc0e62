/**
 * Numbers and layouts of this folder against the C headers of each machine: a compiler for it has to agree with all of
 * them. Nothing is run, so that every machine can check the tables of the others.
 *
 * @module
 */
import assert from "node:assert/strict";
import { EPOLL_EVENTS } from "./epoll.ts";
import { ERRNO } from "./errno.ts";
import { AT, FALLOC, MACHINE_FLAGS, O, RESOLVE } from "./fcntl.ts";
import { IN } from "./inotify.ts";
import { STAT_LAYOUTS, STATVFS } from "./libfuse3_layout.ts";
import { MACHINE, type Machine } from "./machine.ts";
import { MOUNT_SYSCALLS } from "./mount_api.ts";
import { PIDFD_SYSCALLS, SIGNAL } from "./pidfd.ts";
import { POLL } from "./poll.ts";
import { CLONE } from "./sched.ts";
import { LOCK } from "./sys_file.ts";
import { MADV } from "./sys_mman.ts";
import { MNT, MS } from "./sys_mount.ts";
import { DISK_QUOTA, SYS_quotactl_fd } from "./sys_quota.ts";
import { S, STATX, SYS_MKNODAT } from "./sys_stat.ts";
import { STATFS } from "./sys_statfs.ts";
import { SEEK } from "./unistd.ts";

/** C expressions by what they have to be. */
type Expected = Record<string, number | bigint>;

/** `{ A: 1 }` with the prefix "X_" is `{ X_A: 1 }`. */
function prefixed(prefix: string, numbers: Readonly<Expected>): Expected {
  return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [prefix + name, value]));
}

/** Size and offsets of a struct, whose members are named `prefix` and the name here, or as `names` has it. */
function layout(struct: string, prefix: string, offsets: object, names: Record<string, string> = {}): Expected {
  const member = (name: string) => names[name] ?? `${prefix}${name}`;
  const numbers = Object.entries(offsets).filter(([, value]) => typeof value === "number") as [string, number][];
  return Object.fromEntries(
    numbers.map(([name, value]) => [
      name === "SIZE" ? `sizeof(${struct})` : `__builtin_offsetof(${struct}, ${member(name)})`,
      value,
    ]),
  );
}

/** Flags of the kernel, whose O_LARGEFILE glibc defines as 0. */
function kernelFlags(machine: Machine): Expected {
  const flags = { ...O, ...MACHINE_FLAGS[machine], TMPFILE: 0o20000000 | MACHINE_FLAGS[machine].DIRECTORY };
  return prefixed("O_", flags);
}

const KERNEL_HEADERS = ["asm/fcntl.h"];

const TIMES = { atime: "st_atim", mtime: "st_mtim", ctime: "st_ctim" };
const STATX_NAMES = {
  attributesMask: "stx_attributes_mask",
  rdevMajor: "stx_rdev_major",
  rdevMinor: "stx_rdev_minor",
  devMajor: "stx_dev_major",
  devMinor: "stx_dev_minor",
  mntId: "stx_mnt_id",
};
const QUOTA_NAMES = { blkHardlimit: "d_blk_hardlimit", blkSoftlimit: "d_blk_softlimit" };

function libraryNumbers(machine: Machine): Expected {
  const { nlinkBytes, ...stat } = STAT_LAYOUTS[machine];
  const { tvSec, tvNsec, ...statx } = STATX;
  return {
    ...ERRNO,
    ...prefixed("AT_", AT),
    ...prefixed("FALLOC_FL_", FALLOC),
    ...prefixed("RESOLVE_", RESOLVE),
    ...prefixed("IN_", IN),
    ...prefixed("POLL", POLL),
    ...prefixed("CLONE_", CLONE),
    ...prefixed("LOCK_", LOCK),
    ...prefixed("MADV_", MADV),
    ...prefixed("MS_", MS),
    ...prefixed("MNT_", MNT),
    ...prefixed("S_", S),
    ...prefixed("SEEK_", SEEK),
    ...prefixed("SIG", SIGNAL),
    ...prefixed("SYS_", { ...MOUNT_SYSCALLS, ...PIDFD_SYSCALLS }),
    SYS_quotactl_fd,
    SYS_mknodat: SYS_MKNODAT[machine],
    ...layout("struct epoll_event", "", EPOLL_EVENTS[machine]),
    ...layout("struct stat", "st_", stat, TIMES),
    "sizeof(nlink_t)": nlinkBytes,
    ...layout("struct statvfs", "f_", STATVFS),
    ...layout("struct statfs", "f_", STATFS),
    ...layout("struct statx", "stx_", statx, STATX_NAMES),
    "__builtin_offsetof(struct statx_timestamp, tv_sec)": tvSec,
    "__builtin_offsetof(struct statx_timestamp, tv_nsec)": tvNsec,
    ...layout("struct fs_disk_quota", "d_", DISK_QUOTA, QUOTA_NAMES),
  };
}

const LIBRARY_HEADERS = [
  ..."errno.h fcntl.h poll.h sched.h signal.h unistd.h sys/epoll.h sys/file.h sys/inotify.h sys/mman.h".split(" "),
  ..."sys/mount.h sys/stat.h sys/statfs.h sys/statvfs.h sys/syscall.h linux/dqblk_xfs.h linux/falloc.h".split(" "),
  "linux/openat2.h",
];

/** What the compiler finds wrong. */
async function disagreement(machine: Machine, headers: readonly string[], expected: Expected): Promise<string> {
  const source = [
    "#define _GNU_SOURCE",
    ...headers.map((name) => `#include <${name}>`),
    ...Object.entries(expected).map(([name, value]) => `_Static_assert(${name} == ${value}, "${name}");`),
  ];
  const compiler = new Deno.Command(compilerOf(machine), {
    args: ["-fsyntax-only", "-x", "c", "-"],
    stdin: "piped",
    stderr: "piped",
  }).spawn();
  const input = compiler.stdin.getWriter();
  await input.write(new TextEncoder().encode(source.join("\n") + "\n"));
  await input.close();
  const { stderr } = await compiler.output();
  return new TextDecoder().decode(stderr);
}

/** Debian's name of the compiler for a machine, its own or another. */
function compilerOf(machine: Machine): string {
  return `${machine}-linux-gnu-gcc`;
}

function hasCompiler(machine: Machine): boolean {
  return Deno.env.get("PATH")?.split(":").some((folder) => isFile(`${folder}/${compilerOf(machine)}`)) ?? false;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

for (const machine of ["x86_64", "aarch64"] as const) {
  const ignore = machine !== MACHINE && !hasCompiler(machine);
  Deno.test({ name: `numbers and structs are those of the C headers of ${machine}`, ignore }, async () => {
    assert.equal(await disagreement(machine, KERNEL_HEADERS, kernelFlags(machine)), "");
    assert.equal(await disagreement(machine, LIBRARY_HEADERS, libraryNumbers(machine)), "");
  });
}

Deno.test("a wrong number is found", async () => {
  const other = MACHINE === "x86_64" ? "aarch64" : "x86_64";
  assert.match(await disagreement(MACHINE, KERNEL_HEADERS, kernelFlags(other)), /static assertion failed: "O_DIRECT"/);
});
