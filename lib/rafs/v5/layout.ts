/**
 * Byte offsets of RAFS v5. Little-endian throughout; tables and records are aligned to 8 bytes.
 *
 * Source: dragonflyoss/nydus rafs/src/metadata/layout/v5.rs.
 *
 * @module
 */

/** RafsV5SuperBlock, at 0. */
export const SUPER = {
  SIZE: 8192,
  magic: 0,
  version: 4,
  size: 8,
  blockSize: 12,
  flags: 16,
  inodeCount: 24,
  inodeTableOffset: 32,
  prefetchTableOffset: 40,
  blobTableOffset: 48,
  inodeTableEntries: 56,
  prefetchTableEntries: 60,
  blobTableSize: 64,
  extBlobTableEntries: 68,
  extBlobTableOffset: 72,
} as const;

/** Bytes per unit of offsets that are stored in units. */
export const UNIT = 8;

/** RafsV5ExtBlobEntry. */
export const EXT_BLOB = { SIZE: 64, chunkCount: 0, features: 4, uncompressedSize: 8, compressedSize: 16 } as const;

/** Start of a blob table entry: the prefetch range, then the id. */
export const BLOB_HEAD = { SIZE: 8, prefetchOffset: 0, prefetchSize: 4 } as const;

/** RafsV5Inode. */
export const INODE = {
  SIZE: 128,
  digest: 0,
  parent: 32,
  ino: 40,
  uid: 48,
  gid: 52,
  mode: 60,
  size: 64,
  blocks: 72,
  flags: 80,
  nlink: 88,
  childIndex: 92,
  childCount: 96,
  nameSize: 100,
  symlinkSize: 102,
  rdev: 104,
  mtimeNsec: 108,
  mtime: 112,
} as const;

/** Bits of {@link INODE.flags}. */
export const INODE_FLAG = { symlink: 1, hardlink: 2, xattr: 4, hasHole: 8 } as const;

/** Maximum bytes of a Linux file name, a symbolic link target and an xattr value. */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;
export const XATTR_VALUE_MAX = 65536;
