/**
 * Type and usage of file systems.
 *
 * Source: asm-generic/statfs.h (struct statfs of 64-bit machines) and linux/magic.h, Linux 6.18.
 *
 * @module
 */
import { ERRNO } from "./errno.ts";
import { check, errno, loadLibc, type Name, nameArgument } from "./libc.ts";

/** File system types by {@link FsStatus.type}. ext2 and ext3 share ext4's number. */
export const FS_MAGIC = {
  ext4: 0xef53,
  xfs: 0x58465342,
  btrfs: 0x9123683e,
  tmpfs: 0x01021994,
  overlayfs: 0x794c7630,
  fuse: 0x65735546,
  erofs: 0xe0f5e1e2,
  nfs: 0x6969,
  zfs: 0x2fc12fc1,
  ecryptfs: 0xf15f,
} as const;

/** Names that {@link fsName} knows. */
export type FsName = keyof typeof FS_MAGIC;

const NAMES = new Map<number, FsName>((Object.keys(FS_MAGIC) as FsName[]).map((name) => [FS_MAGIC[name], name]));

/** Returns "ext4" for 0xef53, "0x6969abcd" for an unknown number. */
export function fsName(type: number): string {
  return NAMES.get(type) ?? `0x${type.toString(16)}`;
}

/** Result of statfs(2). Counts beyond 2^53 are rounded. */
export interface FsStatus {
  /** One of {@link FS_MAGIC}, or another u32. */
  type: number;
  /** Bytes of the blocks counted here. */
  blockSize: number;
  blocks: number;
  freeBlocks: number;
  /** Free blocks for users other than root. */
  availableBlocks: number;
  /** Inodes; 0 without a limit. */
  files: number;
  freeFiles: number;
  /** Maximum bytes of a file name. */
  nameLength: number;
}

/** struct statfs, x86-64 and arm64: byte offsets. */
export const STATFS = {
  SIZE: 120,
  type: 0,
  bsize: 8,
  blocks: 16,
  bfree: 24,
  bavail: 32,
  files: 40,
  ffree: 48,
  fsid: 56,
  namelen: 64,
  frsize: 72,
  flags: 80,
} as const;

const libc = loadLibc({
  statfs: { parameters: ["buffer", "buffer"], result: "i32" }, // int statfs(const char *path, struct statfs *)
});

/** Status of the file system of `path`. */
export function statfs(path: Name): FsStatus {
  const bytes = new Uint8Array(STATFS.SIZE);
  let result: number;
  do result = libc().statfs(nameArgument(path, "statfs"), bytes); while (result === -1 && errno() === ERRNO.EINTR);
  check(result, "statfs", path);
  return decodeStatfs(new DataView(bytes.buffer));
}

/** Decodes a struct statfs. */
export function decodeStatfs(view: DataView): FsStatus {
  const unsigned = (at: number): number => Number(view.getBigUint64(at, true));
  // If the file system sets f_frsize, f_blocks counts in units of it.
  return {
    type: view.getUint32(STATFS.type, true),
    blockSize: unsigned(STATFS.frsize) || unsigned(STATFS.bsize),
    blocks: unsigned(STATFS.blocks),
    freeBlocks: unsigned(STATFS.bfree),
    availableBlocks: unsigned(STATFS.bavail),
    files: unsigned(STATFS.files),
    freeFiles: unsigned(STATFS.ffree),
    nameLength: unsigned(STATFS.namelen),
  };
}
