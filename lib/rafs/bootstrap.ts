/**
 * Version-independent view of a RAFS bootstrap: a tree of inodes, and the blob chunks that file data consist of.
 *
 * ```
 * inode ──extents()──►  (blob, chunk)  ──ChunkTable──►  where the chunk is in the blob, and in the cache file
 *                            │
 *                            └──── chunkRecords() ───►  its digest
 * ```
 *
 * Readers are pure functions of bytes and open lazily: `openBootstrap` (open.ts) checks the super block and the bounds
 * of the tables; everything else is checked on access. Every offset, count and length from the image is checked before
 * use; a violation throws a {@link RafsError} that names the structure and its offset. Inode numbers are `ino` of v5
 * and `nid` of v6.
 *
 * @module
 */
import type { Seconds } from "../base/seconds.ts";
import type { Region } from "./format/guard.ts";

export { RafsError } from "./format/rafs_error.ts";

/** Compression of chunks, with on-disk codes: rafs-v6 blob table, offset 76. */
export const COMPRESSOR = { none: 0, lz4_block: 1, gzip: 2, zstd: 3 } as const;
export type Compressor = keyof typeof COMPRESSOR;

/** Digest algorithm of chunks, with on-disk codes: rafs-v6 blob table, offset 80. */
export const DIGESTER = { blake3: 0, sha256: 1 } as const;
export type Digester = keyof typeof DIGESTER;

/** Attributes of one inode. {@link Bootstrap.attr} fills them in place, so that a stat allocates nothing. */
export interface InodeAttr {
  ino: number;
  /** Full st_mode: type and permission bits. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** dev_t in the encoding of the kernel's new_encode_dev; 0 except for device nodes. */
  rdev: number;
  /** Bytes. */
  size: number;
  /** Since 1970; negative before. */
  mtime: Seconds;
  mtimeNsec: number;
}

/** Returns attributes for {@link Bootstrap.attr} to fill. */
export function emptyAttr(): InodeAttr {
  return { ino: 0, mode: 0, nlink: 0, uid: 0, gid: 0, rdev: 0, size: 0, mtime: 0, mtimeNsec: 0 };
}

/** Returns the owner of an inode: the stored one, or root if the image stores none. */
export function ownerOf(
  { explicitUidGid }: Pick<Bootstrap, "explicitUidGid">,
  { uid, gid }: Readonly<InodeAttr>,
): Pick<InodeAttr, "uid" | "gid"> {
  return explicitUidGid ? { uid, gid } : { uid: 0, gid: 0 };
}

/** Encryption of a blob's stored bytes: AES-128-XTS, each unit encrypted separately. */
export interface BlobCipher {
  /** 32 bytes: data key, then tweak key. */
  readonly key: Uint8Array;
  /** 16 bytes, the same for every unit. */
  readonly iv: Uint8Array;
}

/** One blob of the image, as described by the bootstrap. */
export interface BlobDescriptor {
  /** Position in the blob table, referred to by {@link Extent.blobIndex}. */
  readonly index: number;
  /** Name of the blob in its backend, usually 64 hexadecimal characters. */
  readonly id: string;
  readonly compressor: Compressor;
  readonly digester: Digester;
  /** Chunk size of the image in bytes. */
  readonly chunkSize: number;
  /** Number of chunks; 0 when an old v5 image does not record it. */
  readonly chunkCount: number;
  /** Feature bits, rafs-v6 blob table offset 84. */
  readonly features: number;
  /**
   * Bytes of the blob in its backend as counted by the builder; 0 when unknown. The blob may be larger: an inlined
   * bootstrap and what follows it are not counted, and old builders (v6 without CAP_TAR_TOC) counted only the chunk
   * data.
   */
  readonly compressedSize: number;
  /** Bytes of the cache file; 0 when unknown. */
  readonly uncompressedSize: number;
  /** Location of the compression info; undefined for v5, whose chunk infos are in the bootstrap. */
  readonly meta: BlobMetaLocation | undefined;
  /** Undefined when the blob is not encrypted. */
  readonly cipher?: BlobCipher | undefined;
  /**
   * Id of the blob that holds the compression info of data stored as a separate layer. Undefined when the bootstrap
   * does not name it, and for blobs that contain their own compression info.
   */
  readonly metaBlobId?: string | undefined;
}

/** Location of the compression info (CI) in a v6 blob. Its 4096-byte header follows it. */
export interface BlobMetaLocation {
  readonly compressor: Compressor;
  readonly offset: number;
  readonly compressedSize: number;
  readonly uncompressedSize: number;
}

/** Part of a file: `length` bytes at `fileOffset` are stored at `blobOffset` of the cache file. */
export interface Extent {
  readonly fileOffset: number;
  readonly blobIndex: number;
  /** Index of the chunk in its blob. */
  readonly chunkIndex: number;
  /** Uncompressed offset of the piece in the blob's address space. */
  readonly blobOffset: number;
  readonly length: number;
  /** Uncompressed offset of the whole chunk. The image is damaged if the chunk table disagrees. */
  readonly chunkOffset: number;
  /** Uncompressed bytes of the whole chunk. The image is damaged if the chunk table disagrees. */
  readonly chunkLength: number;
}

/**
 * What the bootstrap records about one chunk. v5 has all fields; v6 has digest and CRC, while offsets come from the CI.
 */
export interface ChunkRecord {
  blobIndex: number;
  chunkIndex: number;
  /** 32 bytes, digest of the plain chunk. A view: copy it to keep it. */
  digest: Uint8Array;
  flags: number;
  compressedOffset: number;
  compressedSize: number;
  uncompressedOffset: number;
  uncompressedSize: number;
  /** CRC-32C of the plain chunk when `flags` has HAS_CRC32. */
  crc32: number;
}

/** Chunk flags, as at offset 36 of a v5 chunk info. The CI array uses other bits, which blob/blob_meta.ts translates. */
export const CHUNK_FLAG = { compressed: 1, hole: 2, encrypted: 4, batch: 8, hasCrc32: 0x10 } as const;

/**
 * Called for each directory entry; returning false stops the listing. `next` is the cookie that continues after this
 * entry.
 */
export type DirVisitor = (name: Uint8Array, ino: number, type: number, next: number) => boolean;

/** {@link DirVisitor} that gets a name as its range `[start, end)` of {@link Bootstrap.bytes}. */
export type RangeVisitor = (start: number, end: number, ino: number, type: number, next: number) => boolean;

/** Called for each chunk of a file; the arguments are those of an {@link Extent}. */
export type ChunkVisitor = (blobIndex: number, chunkIndex: number, chunkLength: number) => void;

/**
 * An opened bootstrap. Methods throw {@link RafsError} on damage, including inode numbers that are not in the image.
 */
export interface Bootstrap {
  readonly version: 5 | 6;
  /** Flags of the super block: IMAGE_FLAG in format/flags.ts. */
  readonly flags: number;
  /** The bootstrap. */
  readonly bytes: Uint8Array;
  /** Bytes of the bootstrap. */
  readonly byteLength: number;
  readonly rootIno: number;
  /** Bytes of the bootstrap and of all blobs in the cache, for statfs. */
  readonly dataBytes: number;
  /** Inodes in the tree, for statfs. */
  readonly inodeCount: number;
  /** Bytes of a full chunk. */
  readonly chunkSize: number;
  /** False when ids were not stored: every inode is owned by 0:0. */
  readonly explicitUidGid: boolean;
  /** Whether any inode may have extended attributes. */
  readonly hasXattrs: boolean;
  readonly blobs: readonly BlobDescriptor[];
  /** Inodes to prefetch, in order; a directory stands for all files below it. */
  readonly prefetch: readonly number[];

  attr(ino: number, out: InodeAttr): void;
  /** Inode of `name` in directory `dir`, 0 if there is none. Does not handle "." and "..". */
  lookup(dir: number, name: Uint8Array): number;
  /** Lists `dir` without "." and "..", from `cookie` (0: from the start). `type` is DT_* of dirent.h. */
  readdir(dir: number, cookie: number, visit: DirVisitor): void;
  /** Like {@link readdir}, without an object per name. */
  list(dir: number, cookie: number, visit: RangeVisitor): void;
  readlink(ino: number): Uint8Array;
  /** All extended attributes as full name ("user.x") and value; both are views. */
  xattrs(ino: number): Iterable<readonly [name: Uint8Array, value: Uint8Array]>;
  /** Extents of `[offset, offset + length)` of a regular file, in order, truncated at the end of the file. */
  extents(ino: number, offset: number, length: number): Extent[];
  /** Visits all chunks of a regular file in order, if possible without an object per chunk. */
  eachChunk(ino: number, visit: ChunkVisitor): void;
  /**
   * Chunk records of all blobs or of one. A chunk may be reported more than once. The object is reused between steps.
   */
  chunkRecords(blobIndex?: number): Iterable<Readonly<ChunkRecord>>;
  /**
   * The records of all blobs as offsets in {@link bytes}, where they are stored as format/chunk_info.ts describes. Fails for TARFS,
   * which does not store any.
   */
  chunkInfos(): Iterable<number>;

  /** Location of super blocks and tables in the bootstrap. */
  readonly tables: readonly Region[];
  /** Location of an inode and of the data that belong to it alone. v5 accepts the number of any record. */
  inodeRegions(ino: number): Region[];
}
