/**
 * A device file of an EROFS image that is filled while it is read.
 *
 * ```
 *                     chunks begin at blocks (v6)            chunks are packed (v5)
 * SharedDevice  ───►  the cache file itself                  CopiedDevice ───► a separate sparse file, into which
 *                                                                              chunks of the cache file are copied
 * ```
 *
 * @module
 */
import { type Fd, procFdPath } from "../../../ffi/fd.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { ftruncate, pwriteAll } from "../../../ffi/unistd.ts";
import { ignore, messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { CacheFile } from "../../blob/cache/cache_file.ts";
import { emptyLost } from "../../blob/cache/lost_content.ts";
import {
  betweenEpochs,
  epochOf,
  isLost,
  newSyncState,
  noteLoss,
  publish,
  type SyncState,
} from "../../blob/cache/lost_writes.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { deviceChunks, deviceExtents, type DeviceTable, HOLE } from "../../rafs/erofs/device_table.ts";
import { areStored, isReady, readExtents, requirePassable } from "../reads/cached_read.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { fetchExtents, storeOf, withFetched } from "../reads/missing_data.ts";
import type { FileKey } from "./event_file.ts";
import type { HeldPages } from "./held_pages.ts";

const log = logger("mount", "fanotify");

/** One image's device on a file; several images may share the file. */
export interface WatchedDevice extends AsyncDisposable {
  readonly known: KnownImage;
  readonly table: DeviceTable;
  /** Path at which the kernel opens it. */
  readonly path: string;
  /** Open descriptor of the device, for our own reads and writes. */
  readonly fd: number;
  readonly file: FileKey;
  /** Which chunks can be read from the device. */
  readonly blob: OpenBlob;
  /**
   * Resolves when `[offset, offset + count)` of the device can be read.
   *
   * @param held what keeps it in memory, if the disk may lose it, until the kernel has read it
   * @throws when it cannot be read
   */
  fetch(offset: number, count: number, signal: AbortSignal, held: HeldPages): Promise<void>;
  /** Whether the whole device is durably stored, so that the watch can end. */
  settle(): boolean;
  /** Calls `listener` whenever the result of {@link settle} may have changed. */
  onStored(listener: () => void): void;
}

/** The cache file of a blob as a device. */
export class SharedDevice implements WatchedDevice {
  readonly fd: number;
  readonly file: FileKey;

  constructor(
    readonly known: KnownImage,
    readonly table: DeviceTable,
    readonly blob: OpenBlob,
    readonly path: string,
  ) {
    this.fd = blob.dataFd;
    this.file = fstat(this.fd);
  }

  fetch(offset: number, count: number, signal: AbortSignal, held: HeldPages): Promise<void> {
    const extents = deviceExtents(this.table, offset, count);
    return fetchExtents(this.known, extents, signal, () => {
      if (!areStored(extents, this.known.blobs)) held.hold(this.fd, offset, count);
    });
  }

  settle(): boolean {
    const { chunkIndex, count, blobIndex } = this.table;
    return storeOf(this.known, blobIndex).seal(chunkIndex.subarray(0, count));
  }

  onStored(listener: () => void): void {
    storeOf(this.known, this.table.blobIndex).onStored(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(); // the descriptor belongs to the blob
  }
}

/** Directory for copies. */
export interface CopyFolder {
  readonly path: string;
  /** The directory, through a mount whose events the group ignores. */
  readonly ownMount: Fd;
}

/** Name of the copy for a blob of an image. */
export function copyName(image: string, blobIndex: number): string {
  return `${image}.${blobIndex}`;
}

/** A file that chunks are copied to. Removed with the device. */
export class CopiedDevice implements WatchedDevice {
  readonly path: string;
  readonly file: FileKey;
  readonly blob: OpenBlob;
  readonly #copy: CacheFile;
  readonly #source: OpenBlob;
  readonly #synced: SyncState;
  /** {@link blob} at its index. */
  readonly #blobs: OpenBlob[] = [];
  #listener: () => void = () => {};
  #syncing: Promise<void> | undefined;
  #mending: Promise<void> | undefined;
  #isStored = false;

  /**
   * Creates the file, or opens that of an earlier process, whose content is not trusted: chunks are copied again.
   *
   * @throws {NydusGdError} "io"
   */
  constructor(readonly known: KnownImage, readonly table: DeviceTable, source: OpenBlob, folder: CopyFolder) {
    const name = copyName(known.image.name, table.blobIndex);
    this.path = `${folder.path}/${name}`;
    this.#source = source;
    this.#copy = CacheFile.open(this.path, `${procFdPath(folder.ownMount)}/${name}`);
    ftruncate(this.#copy.fd, table.sizeBytes);
    this.file = fstat(this.#copy.fd);
    const ready = new Uint8Array(new SharedArrayBuffer(source.ready.length));
    this.#synced = newSyncState(source.chunks.count);
    this.blob = { ...source, dataFd: this.fd, ready, synced: this.#synced, path: this.path };
    this.#blobs[table.blobIndex] = this.blob;
  }

  get fd(): number {
    return this.#copy.fd.raw;
  }

  async fetch(offset: number, count: number, signal: AbortSignal, held: HeldPages): Promise<void> {
    const extents = deviceExtents(this.table, offset, count).filter(({ blobIndex }) => blobIndex !== HOLE);
    await withFetched(this.known, extents.map(wholeChunk), signal, async () => {
      await this.#copyMissing(extents);
      held.hold(this.fd, offset, count);
      requirePassable(extents, this.#blobs);
    });
    this.#listener();
  }

  async #copyMissing(extents: readonly Extent[]): Promise<void> {
    await this.#mend();
    for (const extent of extents) if (!isReady(extent, this.blob)) this.#copyChunk(extent);
  }

  /**
   * To be awaited before writes: what the disk has lost is not ready, nor is any of a file that somebody truncated.
   *
   * @throws {NydusGdError} "io" when it cannot be made again, since the kernel reads it without asking
   */
  async #mend(): Promise<void> {
    const { path, sizeBytes } = this.#copy;
    const isCut = sizeBytes < this.table.sizeBytes;
    if (this.#isStored && isCut) {
      const state = `it was truncated to ${sizeBytes} bytes while the kernel reads it`;
      throw new NydusGdError("io", `Cannot copy chunks to "${path}": ${state}`);
    }
    if (this.#mending === undefined && !isCut && (this.#isStored || !isLost(this.#synced))) return;
    await (this.#mending ??= this.#copyAnew(isCut).finally(() => this.#mending = undefined));
  }

  async #copyAnew(isCut: boolean): Promise<void> {
    const { fd, path } = this.#copy;
    const size = this.table.sizeBytes;
    log.warn(`${isCut ? "a file of copies was truncated" : "the disk has lost copies"}, chunks are copied again`, {
      path,
    });
    await betweenEpochs(this.#synced, async () => {
      for (let i = 0; i < this.blob.ready.length; i++) Atomics.store(this.blob.ready, i, 0);
      await emptyLost(fd, [{ offset: 0, length: size }]);
      ftruncate(fd, size);
    });
  }

  #copyChunk(extent: Extent): void {
    const { fileOffset, blobOffset, blobIndex, chunkIndex, chunkOffset, chunkLength } = extent;
    const epoch = epochOf(this.#synced);
    const bytes = new Uint8Array(chunkLength);
    const blobs: OpenBlob[] = [];
    blobs[blobIndex] = this.#source;
    readExtents([wholeChunk(extent)], blobs, bytes);
    pwriteAll(this.#copy.fd, bytes, fileOffset - (blobOffset - chunkOffset));
    publish(this.#synced, this.blob.ready, chunkIndex, epoch);
  }

  settle(): boolean {
    if (this.#isStored) return true;
    for (const chunk of deviceChunks(this.table)) if (!isReady(chunk, this.blob)) return false;
    this.#syncing ??= this.#sync();
    return false;
  }

  /** Never rejects. */
  async #sync(): Promise<void> {
    const epoch = epochOf(this.#synced);
    try {
      await this.#copy.syncData();
      if (epoch !== epochOf(this.#synced)) return; // what is copied again is not synced
      this.#isStored = true;
      this.#listener();
    } catch (error) {
      noteLoss(this.#synced); // the kernel may have dropped pages that it could not write
      log.error("copies of chunks not written", { path: this.path, error: messageOf(error) });
    } finally {
      this.#syncing = undefined;
    }
  }

  onStored(listener: () => void): void {
    this.#listener = listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([this.#syncing, this.#mending]);
    this.#copy[Symbol.dispose]();
    await ignore(Deno.errors.NotFound, Deno.remove(this.path));
  }
}

/** The whole chunk of an extent. */
function wholeChunk(extent: Extent): Extent {
  const { chunkOffset, chunkLength } = extent;
  return { ...extent, blobOffset: chunkOffset, length: chunkLength };
}
