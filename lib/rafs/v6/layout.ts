/**
 * Byte offsets of RAFS v6, an EROFS image with an extended super block. Little-endian throughout.
 *
 * Source: linux fs/erofs/erofs_fs.h (6.18) and dragonflyoss/nydus rafs/src/metadata/layout/v6.rs.
 *
 * @module
 */

/** struct erofs_super_block, at {@link EROFS_SUPER_OFFSET}. The uuid has 16 bytes. */
export const SUPER = {
  SIZE: 128,
  magic: 0,
  checksum: 4,
  featureCompat: 8,
  blockBits: 12,
  extSlots: 13,
  rootNid: 14,
  inodes: 16,
  buildTime: 24,
  blocks: 36,
  metaBlock: 40,
  xattrBlock: 44,
  uuid: 48,
  featureIncompat: 80,
  union: 84,
  extraDevices: 86,
  deviceSlot: 88,
} as const;

/** Block size of the images that are written here, bytes. */
export const BLOCK = 4096;

/** feature_compat bit that marks an EROFS image as RAFS v6. */
export const COMPAT_RAFS_V6 = 0x4000_0000;
/** feature_incompat of every RAFS v6 image: CHUNKED_FILE and DEVICE_TABLE. */
export const INCOMPAT_RAFS_V6 = 0xc;

/** RafsV6SuperBlockExt, directly after the super block. */
export const EXT_SUPER = {
  AT: 1152,
  SIZE: 256,
  flags: 0,
  blobTableOffset: 8,
  blobTableSize: 16,
  chunkSize: 20,
  chunkTableOffset: 24,
  chunkTableSize: 32,
  prefetchTableOffset: 40,
  prefetchTableSize: 48,
} as const;

/** struct erofs_deviceslot. */
export const DEVICE = { SIZE: 128, AT: 1408, tag: 0, TAG_SIZE: 64, blocks: 64, mappedBlock: 68 } as const;

/** The only value of s_devt_slotoff, in units of 128 bytes: the device table is at 11 * 128 = 1408. */
export const DEVICE_SLOT = DEVICE.AT / DEVICE.SIZE;

/** RafsV6Blob. In a blob with a cipher, metaDigest is the key, and metaSize and cipherIv together are the IV. */
export const BLOB = {
  SIZE: 256,
  id: 0,
  ID_SIZE: 64,
  index: 64,
  chunkSize: 68,
  chunkCount: 72,
  compressor: 76,
  digester: 80,
  features: 84,
  compressedSize: 88,
  uncompressedSize: 96,
  tocSize: 104,
  ciCompressor: 108,
  ciOffset: 112,
  ciCompressedSize: 120,
  ciUncompressedSize: 128,
  tocDigest: 136,
  metaDigest: 168,
  metaSize: 200,
  cipherIv: 208,
  cipher: 216,
} as const;

/** struct erofs_inode_compact. */
export const COMPACT = {
  SIZE: 32,
  format: 0,
  xattrCount: 2,
  mode: 4,
  nlink: 6,
  size: 8,
  union: 16,
  ino: 20,
  uid: 24,
  gid: 26,
} as const;

/** struct erofs_inode_extended. */
export const EXTENDED = {
  SIZE: 64,
  format: 0,
  xattrCount: 2,
  mode: 4,
  size: 8,
  union: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtime: 32,
  mtimeNsec: 40,
  nlink: 44,
  reserved: 48,
} as const;

/** Bits 1..3 of i_format. */
export const DATA_LAYOUT = { flatPlain: 0, flatInline: 2, chunkBased: 4 } as const;

/** Inodes are aligned to this; nids count in units of it. */
export const INODE_SLOT = 32;

/** struct erofs_dirent. */
export const DIRENT = { SIZE: 12, nid: 0, nameOffset: 8, type: 10 } as const;

/** struct erofs_xattr_ibody_header and struct erofs_xattr_entry. */
export const XATTR = {
  HEADER_SIZE: 12,
  sharedCount: 4,
  ENTRY_SIZE: 4,
  nameSize: 0,
  nameIndex: 1,
  valueSize: 2,
} as const;

/** struct erofs_inode_chunk_index as RAFS fills it. */
export const CHUNK_INDEX = { SIZE: 8, ciLow: 0, device: 2, block: 4 } as const;

/** Chunk format word of a chunk-based inode: 8-byte indexes; the low 5 bits are log2(chunk bytes / block bytes). */
export const CHUNK_FORMAT_INDEXES = 0x20;

/** Maximum bytes of a file name and of a symbolic link target. */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;
