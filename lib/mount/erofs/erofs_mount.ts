/**
 * Mounts EROFS from files or from the kernel's cache, in the calling thread. Belongs in the Worker, as the kernel may
 * wait for something that the main thread must answer.
 *
 * Source: Documentation/filesystems/erofs.rst, linux/fs.h (FS_IOC_GETFSSYSFSPATH), Linux 6.18. Files instead of block
 * devices are supported since Linux 6.12, with CONFIG_EROFS_FS_BACKED_BY_FILE.
 *
 * @module
 */
import { isErrno } from "../../../ffi/errno.ts";
import { O, open } from "../../../ffi/fcntl.ts";
import { FsContext, moveMount } from "../../../ffi/mount_api.ts";
import { mountAt } from "../../../ffi/mountinfo.ts";
import { ioctl } from "../../../ffi/sys_ioctl.ts";
import { pageSize } from "../../../ffi/sys_mman.ts";
import { FS_MAGIC, statfs } from "../../../ffi/sys_statfs.ts";
import { write } from "../../../ffi/unistd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { BLOCK } from "../../rafs/v6/layout.ts";

export const EROFS_TYPE = "erofs";

/**
 * Read-ahead in KiB, the kernel's default: more fetches more than is read, and gains nothing. See docs/performance.md.
 */
export const READ_AHEAD_KB = 128;
/** Read-ahead in KiB when nothing has to be fetched any more. */
export const COMPLETE_READ_AHEAD_KB = 1024;

/** A mount from files. */
export interface ErofsMountRequest {
  /** Path of the image file; the kernel keeps it open, so that it may be unlinked afterwards. */
  readonly image: string;
  /** Paths, in the order of the image. */
  readonly devices: readonly string[];
  /** Mount point, an existing directory, absolute. */
  readonly target: string;
  /** Read-ahead of the kernel, KiB. */
  readonly readAheadKb: number;
}

/** Maximum length of a value of fsconfig(2), bytes. */
const VALUE_MAX = 255;

/**
 * Mounts EROFS on `target`.
 *
 * @throws {NydusGdError} "environment" when this kernel, or the file system of the image, does not support it
 * @throws {SyscallError} any other error of the kernel, with its message
 */
export function mountErofs({ image, devices, target, readAheadKb }: ErofsMountRequest): void {
  for (const path of [image, ...devices]) {
    if (new TextEncoder().encode(path).length > VALUE_MAX) {
      throw new NydusGdError("environment", `Cannot mount EROFS from ${path}: its path exceeds ${VALUE_MAX} bytes`);
    }
  }
  try {
    using context = FsContext.open(EROFS_TYPE);
    context.setString("source", image);
    for (const device of devices) context.setString("device", device);
    using tree = context.setFlag("ro").create().mount();
    moveMount(tree, target);
  } catch (error) {
    if (isErrno(error, "ENODEV")) {
      throw new NydusGdError("environment", "Cannot mount EROFS: the kernel does not have it", { cause: error });
    }
    if (isErrno(error, "ENOTBLK")) {
      const what = `kernel ${Deno.osRelease()}, or the file system of ${image}, does not take files for devices`;
      throw new NydusGdError("environment", `Cannot mount EROFS: ${what}`, { cause: error });
    }
    throw error;
  }
  setReadAhead(target, readAheadKb);
}

/** A mount from the kernel's cache, which asks for data: ../fscache. */
export interface CachedMountRequest {
  /** Images of the same domain share devices of the same name. */
  readonly domain: string;
  /** Name of the image. */
  readonly fsid: string;
  /** Mount point, an existing directory, absolute. */
  readonly target: string;
  readonly readAheadKb: number;
}

/**
 * Mounts EROFS on `target`. A device that is refused does not fail the mount; its reads fail.
 *
 * @throws {NydusGdError} "exists" when the domain has an image of that name in use, "environment" when this kernel does
 * not support it
 * @throws {SyscallError} any other error of the kernel
 */
export function mountErofsCached({ domain, fsid, target, readAheadKb }: CachedMountRequest): void {
  try {
    using context = FsContext.open(EROFS_TYPE);
    context.setString("domain_id", domain).setString("fsid", fsid);
    using tree = context.setFlag("ro").create().mount();
    moveMount(tree, target);
  } catch (error) {
    if (isErrno(error, "EEXIST")) {
      throw new NydusGdError("exists", `Cannot mount EROFS: ${domain} has ${fsid} in use`, { cause: error });
    }
    if (isErrno(error, "ENODEV", "EINVAL", "EOPNOTSUPP")) {
      throw new NydusGdError("environment", `Cannot mount EROFS: ${notCached(pageSize())}: ${error.message}`, {
        cause: error,
      });
    }
    throw error;
  }
  setReadAhead(target, readAheadKb);
}

/**
 * Why the kernel takes no image out of its cache. The cache consists of pages, and EROFS refuses images with blocks of
 * another size there, whatever else the kernel supports.
 */
export function notCached(pageBytes: number): string {
  const kernel = `kernel ${Deno.osRelease()}`;
  return pageBytes === BLOCK
    ? `${kernel} does not take it out of its cache (CONFIG_EROFS_FS_ONDEMAND)`
    : `${kernel} has pages of ${pageBytes} bytes, and takes images out of its cache only if their blocks are as large`;
}

/** _IOR(0x15, 1, struct fs_sysfs_path): a length and up to 128 bytes. Linux >= 6.10. */
const FS_IOC_GETFSSYSFSPATH = 0x8081_1501n;
const SYSFS_PATH_SIZE = 129;

/**
 * Whether EROFS is mounted on `target`, on which nothing else is: a FUSE file system would be asked, and wait for its
 * server ({@link showsErofsAt}). Does not read the mount table, which has a line for each container.
 */
export function isErofsAt(target: string): boolean {
  try {
    return statfs(target).type === FS_MAGIC.erofs;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

/** Whether EROFS is what `target` shows, whatever else may be mounted there. Asks no file system. */
export function showsErofsAt(target: string): boolean {
  return mountAt(target)?.fsType === EROFS_TYPE;
}

/**
 * Sets the kernel's read-ahead for the EROFS on `target`. Where it cannot be set (an older kernel, or the read-only
 * /sys of a container), the kernel's own read-ahead stays.
 */
export function setReadAhead(target: string, readAheadKb: number): void {
  using root = open(target, O.RDONLY | O.DIRECTORY);
  const answer = new Uint8Array(SYSFS_PATH_SIZE);
  try {
    ioctl(root, FS_IOC_GETFSSYSFSPATH, answer);
  } catch (error) {
    if (isErrno(error, "ENOTTY", "EOPNOTSUPP")) return;
    throw error;
  }
  const path = new TextDecoder().decode(answer.subarray(1, 1 + (answer[0] as number)));
  const name = path.slice(path.lastIndexOf("/") + 1); // the same under fs/erofs and class/bdi
  try {
    using file = open(`/sys/class/bdi/${name}/read_ahead_kb`, O.WRONLY);
    write(file, new TextEncoder().encode(String(readAheadKb)));
  } catch (error) {
    if (!isErrno(error, "EROFS", "EACCES", "ENOENT")) throw error;
  }
}
