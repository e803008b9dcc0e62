/**
 * A mounted image, and what a data path needs to mount one.
 *
 * `lib/mount` is not tied to RAFS: {@link ImageTree} is all that it requires of a format, {@link ChunkStore} all that it
 * requires of a blob.
 *
 * @module
 */
import type { RateMeter } from "../base/rate_meter.ts";
import type { DirVisitor, Extent, InodeAttr } from "../rafs/bootstrap.ts";
import type { ChunkPlaces } from "../rafs/chunk_table.ts";
import type { DeviceTable } from "../rafs/device_table.ts";
import type { FsDriver } from "./choose.ts";
import type { Priority } from "../base/limiter.ts";

/** An immutable tree of inodes whose file data are extents of blobs. {@link Bootstrap} is one. */
export interface ImageTree {
  readonly rootIno: number;
  readonly inodeCount: number;
  readonly hasXattrs: boolean;
  attr(ino: number, out: InodeAttr): void;
  lookup(dir: number, name: Uint8Array): number;
  readdir(dir: number, cookie: number, visit: DirVisitor): void;
  readlink(ino: number): Uint8Array;
  xattrs(ino: number): Iterable<readonly [name: Uint8Array, value: Uint8Array]>;
  extents(ino: number, offset: number, length: number): Extent[];
}

/** A tree, and what a FUSE session reports of it as a whole. */
export interface ServedTree extends ImageTree {
  /** False: every inode belongs to root. */
  readonly explicitUidGid: boolean;
  /** Total size of the data, for statfs. */
  readonly dataBytes: number;
}

/** What a Worker needs to answer reads of cached chunks without the main thread. */
export interface OpenBlob {
  /** File descriptor of the cache file, which holds plain data at uncompressed offsets. */
  readonly dataFd: number;
  readonly chunks: ChunkPlaces;
  /** One bit per chunk, 0x80 >> (i & 7) of byte i >> 3; set when the chunk is verified and in the cache file. */
  readonly ready: Uint8Array<SharedArrayBuffer>;
  /** Path of the cache file; undefined where it has none. */
  readonly path: string | undefined;
  /**
   * One bit per chunk, in the same order. A reader of a chunk whose bit is set clears it and has
   * {@link ChunkStore.reached} called.
   */
  readonly watched?: Uint8Array<SharedArrayBuffer>;
}

/** One blob of a mounted image. */
export interface ChunkStore {
  readonly id: string;
  /** False when the cache cannot have any of it yet; absent when that is not known. */
  readonly mayBeStored?: boolean;
  /** Opens the chunk table and the cache files, at most once; fetches the table if it is not cached. */
  open(signal?: AbortSignal): Promise<OpenBlob>;
  /**
   * Resolves when every chunk that overlaps `[offset, offset + length)` of the uncompressed address space is verified
   * and readable from the cache file. A rejection concerns this range only; the next call tries again.
   */
  ensure(offset: number, length: number, priority: Priority, signal?: AbortSignal): Promise<void>;
  /**
   * Whether all these chunks of the open blob are verified and on disk, so that others than this program may read the
   * cache file. From then on no part that is missing is ever filled with zeros.
   *
   * @throws {NydusGdError} "io" when the file is damaged
   */
  seal(chunkIndexes: Iterable<number>): boolean;
  /**
   * The name for copies of the open blob's plain data that are kept elsewhere: copies of one name have the same bytes in
   * the same places, whoever made them and when.
   *
   * @throws {NydusGdError} "io" when it cannot be recorded
   */
  copiesName(): Promise<string>;
  /** Calls `listener` whenever chunks of the open blob have reached the disk. */
  onStored(listener: () => void): void;
  /** To be called when a reader reaches a watched chunk. */
  reached?(chunkIndex: number): void;
}

/** An image ready to be mounted. */
export interface MountableImage {
  /** Unique and stable across restarts; used in logs and as a directory name: [a-zA-Z0-9._-]+. */
  readonly name: string;
  /** Address and length of the mapped bootstrap, on which Workers open readers of their own. */
  readonly bootstrap: { readonly address: bigint; readonly length: number };
  readonly tree: ImageTree;
  /** By {@link Extent.blobIndex}. */
  readonly blobs: readonly ChunkStore[];
  /** If given, the tree is that of these devices (fuse/device_tree.ts), not the bootstrap's. */
  readonly devices?: readonly DeviceTable[];
  /** Counts reads that had to wait for data. */
  readonly misses?: RateMeter;
}

/** An image that is mounted. */
export interface ImageMount extends AsyncDisposable {
  readonly fsDriver: FsDriver;
  /** Why the chosen data path could not be used; absent if it is used. */
  readonly refusal?: string;
  /** Absolute path of the image's root. */
  readonly path: string;
  /** Programs may have read zeros from it: for a while every process that guarded it was dead. */
  readonly isSuspect?: boolean;
  /** Whether its last reference cannot be detected: then it is released only when everything that serves images ends. */
  readonly isEndless?: boolean;
  /** Whether `path` still leads to it: somebody may have unmounted an image that has a mount of its own. */
  isSeen(): boolean;
  /**
   * Resolves when nothing refers to the image any more. That may be long after it was disposed, as overlays and open files
   * keep it in use; until then its bootstrap must stay mapped and its blobs open.
   */
  readonly released: Promise<void>;
}
