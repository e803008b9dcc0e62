/**
 * Project quotas: how much all files of one project may take, on a file system that counts by projects.
 *
 * Every inode has the number of a project, 0 unless somebody says otherwise; what is made in a folder with
 * {@link XFLAG.PROJINHERIT} gets the folder's.
 *
 * Source: linux/fs.h (struct fsxattr), linux/dqblk_xfs.h (struct fs_disk_quota, struct fs_quota_stat), linux/quota.h,
 * asm-generic/unistd.h, Linux 6.18; quotactl(2), whose commands of XFS ext4 understands as well. By descriptor and not
 * by block device since Linux 5.14.
 *
 * @module
 */
import { isErrno } from "./errno.ts";
import { type AnyFd, rawFd } from "./fd.ts";
import { check, loadLibc } from "./libc.ts";
import { ioctl } from "./sys_ioctl.ts";

/** System call number, x86-64 and arm64. */
const SYS_quotactl_fd = 443n;

const FS_IOC_FSGETXATTR = 0x801c581fn;
const FS_IOC_FSSETXATTR = 0x401c5820n;

/** struct fsxattr: byte offsets. */
const FSXATTR = { SIZE: 28, xflags: 0, projid: 12 } as const;

/** Flags of an inode in struct fsxattr. */
export const XFLAG = { PROJINHERIT: 0x200 } as const;

/** QCMD(cmd, PRJQUOTA) of the commands of XFS. */
const QUOTA_COMMAND = { getQuota: 0x580302, setLimits: 0x580402, getState: 0x580502 } as const;

/** struct fs_disk_quota: byte offsets. Blocks are of 512 bytes. */
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

/** struct fs_quota_stat: what is used of it. */
const QUOTA_STAT = { SIZE: 80, flags: 2 } as const;

const BLOCK_BYTES = 512;
const FS_DQUOT_VERSION = 1;
const FS_PROJ_QUOTA = 1 << 1;
const FS_DQ_BSOFT = 1 << 2;
const FS_DQ_BHARD = 1 << 3;
const FS_QUOTA_PDQ_ENFD = 1 << 5;

/** A project's limit and what it has, in bytes and inodes. 0 is no limit. */
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

/** The project of a file or folder. ENOTTY or EOPNOTSUPP where the file system knows none. */
export function projectOf(fd: AnyFd): number {
  return getAttributes(fd).getUint32(FSXATTR.projid, true);
}

/** Puts a folder into a project, and what is made in it from now on. */
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
 * Whether the file system that `fd` is on holds projects to their limits (mount option `prjquota`).
 *
 * False also where file system or kernel have no quotas at all (ENOSYS, ESRCH, EOPNOTSUPP, EINVAL, ENODEV).
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

/** Limit and use of a project on the file system that `fd` is on; undefined for one that was never heard of. */
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

/** The {@link ProjectQuota} in the bytes of a struct fs_disk_quota. Counts beyond 2^53 are rounded. */
export function decodeDiskQuota(view: DataView): ProjectQuota {
  const unsigned = (at: number): number => Number(view.getBigUint64(at, true));
  return {
    hardLimitBytes: unsigned(DISK_QUOTA.blkHardlimit) * BLOCK_BYTES,
    usedBytes: unsigned(DISK_QUOTA.bcount) * BLOCK_BYTES,
    usedInodes: unsigned(DISK_QUOTA.icount),
  };
}

/** Limits what all files of a project take, rounded up to 512 bytes; 0 lifts the limit. */
export function limitProject(fd: AnyFd, project: number, bytes: number): void {
  quotactl(fd, QUOTA_COMMAND.setLimits, project, encodeLimit(project, bytes));
}

/** The struct fs_disk_quota that sets a project's limit and nothing else. */
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
