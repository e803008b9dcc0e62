/**
 * What a RAFS bootstrap says, whatever its version: a tree of inodes, and the chunks of blobs that file data is made of.
 *
 * ```
 * inode ──extents()──►  (blob, chunk)  ──ChunkTable──►  where the chunk is in the blob, and in the cache file
 *                            │
 *                            └──── chunkRecords() ───►  its digest
 * ```
 *
 * Readers are pure functions of bytes and open lazily: `openBootstrap` (open.ts) checks the super block and the tables'
 * bounds, everything else is checked when it is touched. Every offset, count and length from the image is checked
 * before use; a violation is a {@link RafsError} that says what is where. Inode numbers are v5's `ino` and v6's `nid`.
 *
 * @module
 */
import { NydusGdError } from "../base/errors.ts";
import type { Region } from "./guard.ts";
import type { PlaceChunk } from "./v6/copy_tree.ts";
import type { TreeTable } from "./v6/tree_table.ts";

/** Damaged or alien bytes: `Cannot read RAFS v6 super block at 1024: magic is 0x0badf00d, expected 0xe0f5e1e2`. */
export class RafsError extends NydusGdError {
  override readonly name = "RafsError";
  /** @param code "invalid-image" for damage, "unsupported" for what is understood and refused by name */
  constructor(message: string, code: "invalid-image" | "unsupported" = "invalid-image") {
    super(code, message);
  }
}

/** How chunks are compressed. Codes as on disk: rafs-v6 blob table, offset 76. */
export const COMPRESSOR = { none: 0, lz4_block: 1, gzip: 2, zstd: 3 } as const;
export type Compressor = keyof typeof COMPRESSOR;

/** How chunks are digested. Codes as on disk: rafs-v6 blob table, offset 80. */
export const DIGESTER = { blake3: 0, sha256: 1 } as const;
export type Digester = keyof typeof DIGESTER;

/** Attributes of one inode. Filled in place by {@link Bootstrap.attr}, so that a stat allocates nothing. */
export interface InodeAttr {
  ino: number;
  /** Full st_mode: type and permission bits. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** dev_t as the kernel's new_encode_dev has it, 0 but for devices. */
  rdev: number;
  /** Bytes. */
  size: number;
  /** Seconds since 1970, negative before. */
  mtime: number;
  mtimeNsec: number;
}

/** How the stored bytes of a blob are encrypted: AES-128-XTS, each unit by itself. */
export interface BlobCipher {
  /** 32 bytes: the key of the data, that of the tweak. */
  readonly key: Uint8Array;
  /** 16 bytes, the same for every unit. */
  readonly iv: Uint8Array;
}

/** One blob of the image, as the bootstrap describes it. */
export interface BlobDescriptor {
  /** Position in the blob table; what {@link Extent.blobIndex} names. */
  readonly index: number;
  /** Name of the blob at its home: 64 hexadecimal characters as a rule. */
  readonly id: string;
  readonly compressor: Compressor;
  readonly digester: Digester;
  /** Chunk size of the image in bytes. */
  readonly chunkSize: number;
  /** Number of chunks, 0 where an old v5 image does not say. */
  readonly chunkCount: number;
  /** Feature bits, rafs-v6 blob table offset 84. */
  readonly features: number;
  /**
   * Bytes of the blob at its home as the builder counted them, 0: unknown. The blob itself may be larger: an inlined
   * bootstrap and what follows it are not counted, old builders (v6 without CAP_TAR_TOC) counted the chunk data alone.
   */
  readonly compressedSize: number;
  /** Bytes of the cache file. 0: unknown. */
  readonly uncompressedSize: number;
  /** Where the compression info is; undefined for v5, whose chunk infos stand in the bootstrap. */
  readonly meta: BlobMetaLocation | undefined;
  /** Undefined: nothing is encrypted. */
  readonly cipher?: BlobCipher | undefined;
  /**
   * The blob that the compression info is in, where the data are a layer of their own; undefined where it does not say,
   * and for blobs that have their compression info themselves.
   */
  readonly metaBlobId?: string | undefined;
}

/** Where the compression info (CI) array of a v6 blob lies inside the blob; its 4096-byte header follows it. */
export interface BlobMetaLocation {
  readonly compressor: Compressor;
  readonly offset: number;
  readonly compressedSize: number;
  readonly uncompressedSize: number;
}

/** A piece of a file: `length` bytes at `fileOffset` are `length` bytes at `blobOffset` of the cache file. */
export interface Extent {
  readonly fileOffset: number;
  readonly blobIndex: number;
  /** Index of the chunk in its blob. */
  readonly chunkIndex: number;
  /** Uncompressed offset of the piece in the blob's address space. */
  readonly blobOffset: number;
  readonly length: number;
  /** Uncompressed offset of the whole chunk: the chunk table must say the same, or the image is damaged. */
  readonly chunkOffset: number;
  /** Uncompressed bytes of the whole chunk: the chunk table must say the same. */
  readonly chunkLength: number;
}

/** What the bootstrap knows about one chunk. v5 has it all; v6's table gives digest and CRC, the CI gives the place. */
export interface ChunkRecord {
  blobIndex: number;
  chunkIndex: number;
  /** 32 bytes over the plain chunk; a view, copy it to keep it. */
  digest: Uint8Array;
  flags: number;
  compressedOffset: number;
  compressedSize: number;
  uncompressedOffset: number;
  uncompressedSize: number;
  /** CRC-32C of the plain chunk when `flags` has HAS_CRC32. */
  crc32: number;
}

/** Chunk flags as in the chunk info of v5 at 36. The ones of the CI array (blob_meta.ts) are other bits, translated. */
export const CHUNK_FLAG = { compressed: 1, hole: 2, encrypted: 4, batch: 8, hasCrc32: 0x10 } as const;

/** Called for each directory entry; false stops the listing. `next` is the cookie to go on after this entry. */
export type DirVisitor = (name: Uint8Array, ino: number, type: number, next: number) => boolean;

/** An opened bootstrap. Methods throw {@link RafsError} on damage; an inode number not in the image is damage too. */
export interface Bootstrap {
  readonly version: 5 | 6;
  /** Flags of the super block: IMAGE_FLAG in flags.ts. */
  readonly flags: number;
  /** Bytes of the bootstrap. */
  readonly byteLength: number;
  readonly rootIno: number;
  /** Bytes of the bootstrap and of all blobs in the cache, for statfs. */
  readonly dataBytes: number;
  /** Inodes in the tree, for statfs. */
  readonly inodeCount: number;
  /** Bytes of a full chunk. */
  readonly chunkSize: number;
  /** False: ids were not stored, every inode belongs to who serves it. */
  readonly explicitUidGid: boolean;
  /** Whether any inode may have extended attributes. */
  readonly hasXattrs: boolean;
  readonly blobs: readonly BlobDescriptor[];
  /** Inodes to prefetch, in order; a directory stands for the files below it. */
  readonly prefetch: readonly number[];

  attr(ino: number, out: InodeAttr): void;
  /** Inode of `name` in directory `dir`, 0 when there is none. "." and ".." are not looked up here. */
  lookup(dir: number, name: Uint8Array): number;
  /** Lists `dir` without "." and "..", from `cookie` (0: from the start). `type` is DT_* of dirent.h. */
  readdir(dir: number, cookie: number, visit: DirVisitor): void;
  readlink(ino: number): Uint8Array;
  /** Every extended attribute: full name ("user.x") and value, as views. */
  xattrs(ino: number): Iterable<readonly [name: Uint8Array, value: Uint8Array]>;
  /** The pieces of `[offset, offset + length)` of a regular file, in order, cut at the end of the file. */
  extents(ino: number, offset: number, length: number): Extent[];
  /** Every chunk record, or those of one blob, once or more. The object is reused between steps. */
  chunkRecords(blobIndex?: number): Iterable<Readonly<ChunkRecord>>;

  /**
   * Copies the whole tree to a writer's table, without an object for each inode and name.
   *
   * @returns false where the version has no such way
   */
  copyTree?(tree: TreeTable, placeChunk: PlaceChunk): boolean;

  /** Super blocks and tables: where they lie in the bootstrap. */
  readonly tables: readonly Region[];
  /** Where an inode and what belongs to it alone lie; v5 takes the number of any record. */
  inodeRegions(ino: number): Region[];
}
