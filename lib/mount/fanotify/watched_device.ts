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
import { ftruncate, preadExact, pwriteAll } from "../../../ffi/unistd.ts";
import { ignore, messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { CacheFile } from "../../blob/cache/cache_file.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { deviceChunks, deviceExtents, type DeviceTable, HOLE } from "../../rafs/device_table.ts";
import { isReady } from "../reads/cached_read.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { fetchExtents, storeOf } from "../reads/missing_data.ts";
import type { FileKey } from "./event_file.ts";

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
   * @throws when it cannot be read
   */
  fetch(offset: number, count: number, signal: AbortSignal): Promise<void>;
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

  fetch(offset: number, count: number, signal: AbortSignal): Promise<void> {
    return fetchExtents(this.known, deviceExtents(this.table, offset, count), signal);
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
  #listener: () => void = () => {};
  #syncing: Promise<void> | undefined;
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
    this.blob = { ...source, dataFd: this.fd, ready, path: this.path };
  }

  get fd(): number {
    return this.#copy.fd.raw;
  }

  async fetch(offset: number, count: number, signal: AbortSignal): Promise<void> {
    const extents = deviceExtents(this.table, offset, count).filter(({ blobIndex }) => blobIndex !== HOLE);
    const missing = extents.filter((extent) => !isReady(extent, this.blob));
    if (missing.length === 0) return;
    await fetchExtents(this.known, missing, signal);
    for (const extent of missing) if (!isReady(extent, this.blob)) this.#copyChunk(extent);
    this.#listener();
  }

  #copyChunk({ fileOffset, blobOffset, chunkIndex, chunkOffset, chunkLength }: Extent): void {
    const bytes = new Uint8Array(chunkLength);
    preadExact(this.#source.dataFd, bytes, chunkOffset);
    pwriteAll(this.#copy.fd, bytes, fileOffset - (blobOffset - chunkOffset));
    Atomics.or(this.blob.ready, chunkIndex >> 3, 0x80 >> (chunkIndex & 7));
  }

  settle(): boolean {
    if (this.#isStored) return true;
    for (const chunk of deviceChunks(this.table)) if (!isReady(chunk, this.blob)) return false;
    this.#syncing ??= this.#sync();
    return false;
  }

  /** Never rejects. */
  async #sync(): Promise<void> {
    try {
      await this.#copy.syncData();
      this.#isStored = true;
      this.#listener();
    } catch (error) {
      // the kernel may have dropped pages that it could not write
      for (let i = 0; i < this.blob.ready.length; i++) Atomics.store(this.blob.ready, i, 0);
      log.error("copies of chunks not written", { path: this.path, error: messageOf(error) });
    } finally {
      this.#syncing = undefined;
    }
  }

  onStored(listener: () => void): void {
    this.#listener = listener;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncing;
    this.#copy[Symbol.dispose]();
    await ignore(Deno.errors.NotFound, Deno.remove(this.path));
  }
}
