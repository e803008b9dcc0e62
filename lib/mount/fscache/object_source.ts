/**
 * Sources of the bytes that the kernel caches under one name.
 *
 * ```
 * ImageSource   metadata: the EROFS image, a local file
 * DeviceSource  file data: the chunks of a blob, fetched and verified first
 * ```
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { fstat } from "../../../ffi/sys_stat.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { roundUp } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { DEVICE_BLOCK, deviceExtents, type DeviceTable, HOLE } from "../../rafs/erofs/device_table.ts";
import { isReady, readExtents } from "../reads/cached_read.ts";
import { mayRead } from "../reads/device_use.ts";
import type { OpenBlob } from "../image_mount.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { withFetched } from "../reads/missing_data.ts";

/** A range of whole blocks. */
export interface Stretch {
  readonly offset: number;
  readonly length: number;
}

/** Source of one object of the kernel's cache. */
export interface ObjectSource {
  /** Size in whole blocks. The kernel drops what it has cached under the name if the size has changed. */
  readonly sizeBytes: number;
  /** An image that uses the source, for the log. */
  readonly known: KnownImage | undefined;
  /**
   * Returns the range to fill for a requested one, which it contains: at most `maxBytes`, unless the request is longer.
   */
  widened(stretch: Stretch, maxBytes: number): Stretch;
  /** Fills `out`, whole blocks, from `offset`. @throws when the bytes cannot be read */
  read(offset: number, out: Uint8Array, signal: AbortSignal): Promise<void>;
}

/** Options of an image source. */
export interface ImageSourceOptions {
  /**
   * SHA-256 of the image, hexadecimal, if its name does not depend on its content. The reported size then does, so that
   * the kernel drops what it has cached of another image of that name.
   */
  readonly digest?: string;
}

/** Bits of the digest encoded in the size: file systems have no files of 16 TiB. */
const TOLD_BITS = 30;

/** A local file with the whole image. */
export class ImageSource implements ObjectSource, Disposable {
  private constructor(
    readonly known: KnownImage | undefined,
    private readonly file: Fd,
    private readonly fileBytes: number,
    readonly sizeBytes: number,
  ) {}

  /**
   * Opens the file.
   *
   * @param path a file of whole blocks
   * @throws {SyscallError}
   */
  static open(known: KnownImage | undefined, path: string, { digest }: ImageSourceOptions = {}): ImageSource {
    const file = open(path, O.RDONLY | O.NOFOLLOW);
    const { size } = fstat(file);
    const told = digest === undefined ? 0 : parseInt(digest.slice(0, 8), 16) >>> (32 - TOLD_BITS);
    return new ImageSource(known, file, size, size + told * DEVICE_BLOCK);
  }

  widened({ offset, length }: Stretch, maxBytes: number): Stretch {
    return { offset, length: Math.max(length, Math.min(maxBytes, this.fileBytes - offset)) };
  }

  read(offset: number, out: Uint8Array): Promise<void> {
    return new Promise((resolve) => resolve(preadExact(this.file, out, offset)));
  }

  [Symbol.dispose](): void {
    this.file[Symbol.dispose]();
  }
}

/** One image's use of a device. */
export interface DeviceUse {
  readonly known: KnownImage;
  readonly table: DeviceTable;
  readonly blob: OpenBlob;
}

/** A device: the chunks of one blob, for all images that use it. */
export class DeviceSource implements ObjectSource {
  readonly #uses = new Set<DeviceUse>();

  constructor(readonly sizeBytes: number) {}

  get known(): KnownImage | undefined {
    for (const { known } of this.#uses) return known;
    return undefined;
  }

  /** Adds an image's use. */
  add(use: DeviceUse): void {
    this.#uses.add(use);
  }

  /** Removes an image's use; false if none is left. */
  remove(use: DeviceUse): boolean {
    this.#uses.delete(use);
    return this.#uses.size > 0;
  }

  /** Widens to whole chunks, since chunks are fetched whole, and to the cached chunks that follow. */
  widened(stretch: Stretch, maxBytes: number): Stretch {
    const { table, blob } = this.#useOf(stretch);
    const chunks = deviceExtents(table, stretch.offset, stretch.length).filter(({ blobIndex }) => blobIndex !== HOLE);
    const first = chunks[0], last = chunks.at(-1);
    if (first === undefined || last === undefined) return stretch;
    const offset = startOf(first);
    let end = endOf(last);
    if (end - offset > maxBytes) return stretch;
    for (const chunk of deviceExtents(table, end, offset + maxBytes - end)) {
      if (chunk.blobIndex === HOLE && chunk.fileOffset < end) continue; // padding of the last block
      if (chunk.fileOffset !== end || !isReady(chunk, blob) || endOf(chunk) - offset > maxBytes) break;
      end = endOf(chunk);
    }
    return { offset, length: end - offset };
  }

  async read(offset: number, out: Uint8Array, signal: AbortSignal): Promise<void> {
    const { known, table } = this.#useOf({ offset, length: out.length });
    const extents = deviceExtents(table, offset, out.length);
    await withFetched(known, extents, signal, () => readExtents(extents, known.blobs, out));
  }

  /** Finds an image that has chunks at every block of the range; no image may read anything else. */
  #useOf({ offset, length }: Stretch): DeviceUse {
    for (const use of this.#uses) if (mayRead(use.table, offset, length)) return use;
    throw new NydusGdError("not-found", "Cannot read device: no image has it");
  }
}

/** Returns the offset in the device at which the extent's chunk begins. */
function startOf({ fileOffset, blobOffset, chunkOffset }: Extent): number {
  return fileOffset - (blobOffset - chunkOffset);
}

/** Returns the end of the last block of the extent's chunk. */
function endOf(extent: Extent): number {
  return roundUp(startOf(extent) + extent.chunkLength, DEVICE_BLOCK);
}
