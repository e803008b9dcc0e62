/**
 * Project quotas: limits on the total size of all files of a project, on file systems that support them.
 *
 * Every inode has a project number, 0 by default. Files created in a directory with {@link XFLAG.PROJINHERIT} inherit
 * its project.
 *
 * Source: linux/fs.h (struct fsxattr), linux/dqblk_xfs.h (struct fs_disk_quota, struct fs_quota_stat), linux/quota.h,
 * asm-generic/unistd.h, Linux 6.18; quotactl(2), whose XFS commands ext4 supports as well. Addressed by descriptor
 * instead of block device since Linux 5.14.
 *
 * @module
 */
import { isErrno } from "./errno.ts";
import { type AnyFd, rawFd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";
import { ioctl } from "./sys_ioctl.ts";

/** System call number, the same on every machine. */
export const SYS_quotactl_fd = 443n;

const FS_IOC_FSGETXATTR = 0x801c581fn;
const FS_IOC_FSSETXATTR = 0x401c5820n;

/** struct fsxattr: byte offsets. */
const FSXATTR = { SIZE: 28, xflags: 0, projid: 12 } as const;

/** Inode flags in struct fsxattr. */
const XFLAG = { PROJINHERIT: 0x200 } as const;

/** QCMD(cmd, PRJQUOTA) of the XFS commands. */
const QUOTA_COMMAND = { getQuota: 0x580302, setLimits: 0x580402, getState: 0x580502 } as const;

/** struct fs_disk_quota: byte offsets. A block is 512 bytes. */
export const DISK_QUOTA = {
  SIZE: 112,
  version: 0,
  flags: 1,
  fieldmask: 2,
  id: 4,
  blkHardlimit: 8,
  blkSoftlimit: 16,
  bcount: 40,
  icount: 48,
} as const;

/** struct fs_quota_stat: the used fields. */
const QUOTA_STAT = { SIZE: 80, flags: 2 } as const;

const BLOCK_BYTES = 512;
const FS_DQUOT_VERSION = 1;
const FS_PROJ_QUOTA = 1 << 1;
const FS_DQ_BSOFT = 1 << 2;
const FS_DQ_BHARD = 1 << 3;
const FS_QUOTA_PDQ_ENFD = 1 << 5;

/** Limit and usage of a project, in bytes and inodes. A limit of 0 means none. */
export interface ProjectQuota {
  readonly hardLimitBytes: number;
  readonly usedBytes: number;
  readonly usedInodes: number;
}

const libc = loadLibc({
  // long syscall(SYS_quotactl_fd, unsigned fd, unsigned cmd, qid_t id, void *addr)
  quotactl_fd: { name: "syscall", parameters: ["i64", "i32", "u32", "u32", "buffer"], result: "i32" },
});

function quotactl(fd: AnyFd, command: number, project: number, argument: Uint8Array): void {
  check(
    libc().quotactl_fd(SYS_quotactl_fd, rawFd(fd), command, project, argument),
    "quotactl_fd",
    `project ${project}`,
  );
}

/** Project of a file or directory. ENOTTY or EOPNOTSUPP when the file system does not support projects. */
export function projectOf(fd: AnyFd): number {
  return getAttributes(fd).getUint32(FSXATTR.projid, true);
}

/** Assigns a directory, and everything created in it from now on, to a project. */
export function setProject(folder: AnyFd, project: number): void {
  const view = getAttributes(folder);
  view.setUint32(FSXATTR.xflags, view.getUint32(FSXATTR.xflags, true) | XFLAG.PROJINHERIT, true);
  view.setUint32(FSXATTR.projid, project, true);
  ioctl(folder, FS_IOC_FSSETXATTR, new Uint8Array(view.buffer));
}

function getAttributes(fd: AnyFd): DataView<ArrayBuffer> {
  const bytes = new Uint8Array(FSXATTR.SIZE);
  ioctl(fd, FS_IOC_FSGETXATTR, bytes);
  return new DataView(bytes.buffer);
}

/**
 * Whether the file system of `fd` enforces project limits (mount option `prjquota`).
 *
 * Also false when file system or kernel do not support quotas (ENOSYS, ESRCH, EOPNOTSUPP, EINVAL, ENODEV).
 */
export function enforcesProjects(fd: AnyFd): boolean {
  const bytes = new Uint8Array(QUOTA_STAT.SIZE);
  try {
    quotactl(fd, QUOTA_COMMAND.getState, 0, bytes);
  } catch (error) {
    if (isErrno(error, "ENOSYS", "ESRCH", "EOPNOTSUPP", "EINVAL", "ENODEV")) return false;
    throw error;
  }
  return (new DataView(bytes.buffer).getUint16(QUOTA_STAT.flags, true) & FS_QUOTA_PDQ_ENFD) !== 0;
}

/** Limit and usage of a project on the file system of `fd`; undefined when it has no record of the project. */
export function projectQuota(fd: AnyFd, project: number): ProjectQuota | undefined {
  const bytes = new Uint8Array(DISK_QUOTA.SIZE);
  try {
    quotactl(fd, QUOTA_COMMAND.getQuota, project, bytes);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
  return decodeDiskQuota(new DataView(bytes.buffer));
}

/** Decodes a struct fs_disk_quota. Counts beyond 2^53 are rounded. */
export function decodeDiskQuota(view: DataView): ProjectQuota {
  const unsigned = (at: number): number => Number(view.getBigUint64(at, true));
  return {
    hardLimitBytes: unsigned(DISK_QUOTA.blkHardlimit) * BLOCK_BYTES,
    usedBytes: unsigned(DISK_QUOTA.bcount) * BLOCK_BYTES,
    usedInodes: unsigned(DISK_QUOTA.icount),
  };
}

/** Limits the total size of all files of a project, rounded up to 512 bytes; 0 removes the limit. */
export function limitProject(fd: AnyFd, project: number, bytes: number): void {
  quotactl(fd, QUOTA_COMMAND.setLimits, project, encodeLimit(project, bytes));
}

/** Encodes a struct fs_disk_quota that sets only a project's limit. */
export function encodeLimit(project: number, bytes: number): Uint8Array<ArrayBuffer> {
  const encoded = new Uint8Array(DISK_QUOTA.SIZE);
  const view = new DataView(encoded.buffer);
  const blocks = BigInt(Math.ceil(bytes / BLOCK_BYTES));
  view.setInt8(DISK_QUOTA.version, FS_DQUOT_VERSION);
  view.setInt8(DISK_QUOTA.flags, FS_PROJ_QUOTA);
  view.setUint16(DISK_QUOTA.fieldmask, FS_DQ_BHARD | FS_DQ_BSOFT, true);
  view.setUint32(DISK_QUOTA.id, project, true);
  view.setBigUint64(DISK_QUOTA.blkHardlimit, blocks, true);
  view.setBigUint64(DISK_QUOTA.blkSoftlimit, blocks, true);
  return encoded;
}
