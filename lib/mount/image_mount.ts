/**
 * A mounted image, and the interfaces that a data path needs to mount one.
 *
 * {@link ImageTree} is all that a data path requires of an image's format, {@link ChunkStore} all that it requires of a
 * blob.
 *
 * @module
 */
import type { RateMeter } from "../base/rate_meter.ts";
import type { OpenBlob } from "../blob/opened_blob.ts";
import type { Bootstrap } from "../rafs/bootstrap.ts";
import type { DeviceTable } from "../rafs/erofs/device_table.ts";
import type { FsDriver } from "./data_path.ts";
import type { Priority } from "../base/limiter.ts";

export type { OpenBlob } from "../blob/opened_blob.ts";

/** An immutable tree of inodes whose file data are extents of blobs: what reads need of a {@link Bootstrap}. */
export type ImageTree = Pick<
  Bootstrap,
  "rootIno" | "inodeCount" | "hasXattrs" | "attr" | "lookup" | "readdir" | "readlink" | "xattrs" | "extents"
>;

/** A tree with what a FUSE session shows besides: the owners of inodes, and totals. */
export type ServedTree = ImageTree & Pick<Bootstrap, "explicitUidGid" | "dataBytes">;

/** One blob of a mounted image. */
export interface ChunkStore {
  readonly id: string;
  /** False if the cache cannot hold any of it yet; absent if that is not known. */
  readonly mayBeStored?: boolean;
  /** Opens the chunk table and the cache files, at most once; fetches the table if it is not cached. */
  open(signal?: AbortSignal): Promise<OpenBlob>;
  /**
   * Resolves when every chunk that overlaps `[offset, offset + length)` of the uncompressed address space is verified
   * and readable from the cache file. A rejection concerns this range only; the next call tries again.
   */
  ensure(offset: number, length: number, priority: Priority, signal?: AbortSignal): Promise<void>;
  /**
   * Whether all these chunks of the open blob are verified and on disk, so that other programs may read the cache file.
   * From then on a missing part is never filled with zeros.
   *
   * @throws {NydusGdError} "io" if the file is damaged
   */
  seal(chunkIndexes: Iterable<number>): boolean;
  /**
   * The name for copies of the open blob's plain data kept elsewhere. Copies of the same name have the same bytes at
   * the same places, no matter who made them and when.
   *
   * @throws {NydusGdError} "io" if it cannot be recorded
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
  /** Address and length of the mapped bootstrap, on which Workers open their own readers. */
  readonly bootstrap: { readonly address: bigint; readonly length: number };
  readonly tree: ImageTree;
  /** Indexed by `Extent.blobIndex`. */
  readonly blobs: readonly ChunkStore[];
  /** If set, the tree consists of these devices (fuse/device_tree.ts) instead of the bootstrap's inodes. */
  readonly devices?: readonly DeviceTable[];
  /** Counts reads that had to wait for data. */
  readonly misses?: RateMeter;
}

/** A mounted image. */
export interface ImageMount extends AsyncDisposable {
  readonly fsDriver: FsDriver;
  /** Why the chosen data path could not be used; absent if it is used. */
  readonly refusal?: string;
  /** Absolute path of the image's root. */
  readonly path: string;
  /** Programs may have read zeros from it, because all processes that guarded it were dead for a while. */
  readonly isSuspect?: boolean;
  /**
   * Whether the end of its last reference cannot be detected: then it is released only when serving ends as a whole.
   */
  readonly isEndless?: boolean;
  /** Whether `path` still leads to it: an image with a mount of its own may have been unmounted by someone else. */
  isSeen(): boolean;
  /**
   * Resolves when nothing refers to the image any more. That may be long after disposal, because overlays and open
   * files keep it in use; until then its bootstrap must stay mapped and its blobs open.
   */
  readonly released: Promise<void>;
}
