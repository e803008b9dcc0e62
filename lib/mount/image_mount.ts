/**
 * A tree in the kernel, and what a data path needs of an image to put it there.
 *
 * `lib/mount` knows trees and chunks, not RAFS alone: {@link ImageTree} is all that it asks of a format, and
 * {@link ChunkStore} all that it asks of a blob.
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

/** A tree, and what a session tells of the whole of it. */
export interface ServedTree extends ImageTree {
  /** False: every inode belongs to root. */
  readonly explicitUidGid: boolean;
  /** Bytes of all data, for statfs. */
  readonly dataBytes: number;
}

/** What a Worker needs to answer reads of a blob's cached chunks by itself. */
export interface OpenBlob {
  /** Descriptor of the cache file: plain data at uncompressed offsets. */
  readonly dataFd: number;
  readonly chunks: ChunkPlaces;
  /** One bit a chunk, most significant first: 0x80 >> (i & 7) of byte i >> 3. Set: verified and in the cache file. */
  readonly ready: Uint8Array<SharedArrayBuffer>;
  /** Path of the cache file; undefined where it has none. */
  readonly path: string | undefined;
  /**
   * One bit a chunk, in the same order: who reads from a chunk whose bit is set takes it away, and has
   * {@link ChunkStore.reached} called.
   */
  readonly watched?: Uint8Array<SharedArrayBuffer>;
}

/** One blob of a mounted image. */
export interface ChunkStore {
  readonly id: string;
  /** False: nothing of it can be in the cache yet. Absent: not known. */
  readonly mayBeStored?: boolean;
  /** Opens chunk table and cache (at most once); fetches the blob's meta if it is not cached. */
  open(signal?: AbortSignal): Promise<OpenBlob>;
  /**
   * Resolves when every chunk that overlaps `[offset, offset + length)` of the uncompressed address space is verified
   * and readable from the cache file. Rejects for this range only; the next call tries again.
   */
  ensure(offset: number, length: number, priority: Priority, signal?: AbortSignal): Promise<void>;
  /**
   * Whether all these chunks of the open blob are verified and on disk: then the cache file may be read by others than
   * us, and nothing that is missing of it is ever filled up with zeros.
   *
   * @throws {NydusGdError} "io" when the file is damaged
   */
  seal(chunkIndexes: Iterable<number>): boolean;
  /**
   * What copies of the open blob's plain data go by that are kept elsewhere: those of one name, whoever made them and
   * when, have the same bytes in the same places.
   *
   * @throws {NydusGdError} "io" when it cannot be recorded
   */
  copiesName(): Promise<string>;
  /** Calls `listener` whenever chunks of the open blob have reached the disk. */
  onStored(listener: () => void): void;
  /** A reader has come to a chunk that was watched. */
  reached?(chunkIndex: number): void;
}

/** An image ready to be mounted. */
export interface MountableImage {
  /** Unique and stable over restarts; used in logs and as folder name: [a-zA-Z0-9._-]+. */
  readonly name: string;
  /** Address and length of the mapped bootstrap, for Workers to open their own reader on. */
  readonly bootstrap: { readonly address: bigint; readonly length: number };
  readonly tree: ImageTree;
  /** By {@link Extent.blobIndex}. */
  readonly blobs: readonly ChunkStore[];
  /** The tree is that of these devices (fuse/device_tree.ts), not the bootstrap's. */
  readonly devices?: readonly DeviceTable[];
  /** Reads that had to wait for data are counted here. */
  readonly misses?: RateMeter;
}

/** An image that is visible in the file system. */
export interface ImageMount extends AsyncDisposable {
  /** The data path. */
  readonly fsDriver: FsDriver;
  /** Why it is not the data path that was chosen; absent where it is. */
  readonly refusal?: string;
  /** Absolute path of the image's root. */
  readonly path: string;
  /** Programs that had it open may have read zeros: everybody who watched over it had died for a while. */
  readonly isSuspect?: boolean;
  /** It cannot be known when nothing refers to it any more: it is given back when all that serves images ends. */
  readonly isEndless?: boolean;
  /** Whether `path` still leads there: somebody may have unmounted what is a mount of its own. */
  isSeen(): boolean;
  /**
   * Resolves when nothing refers to the image any more, some time after it was disposed: overlays and open files may
   * use it on. Until then its bootstrap must stay mapped and its blobs open.
   */
  readonly released: Promise<void>;
}
