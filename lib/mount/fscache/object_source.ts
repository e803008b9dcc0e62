/**
 * Where the bytes come from that the kernel caches under one name.
 *
 * ```
 * ImageSource   names and attributes: the EROFS image, a file of ours
 * DeviceSource  file data: the chunks of a blob, fetched and verified before they are given
 * ```
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { preadExact } from "../../../ffi/unistd.ts";
import { roundUp } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Extent } from "../../rafs/bootstrap.ts";
import { DEVICE_BLOCK, deviceExtents, type DeviceTable, HOLE } from "../../rafs/device_table.ts";
import { isReady, readExtents } from "../cached_read.ts";
import { mayRead } from "../fanotify/use_of_file.ts";
import type { OpenBlob } from "../image_mount.ts";
import { fetchExtents, type KnownImage } from "../missing_data.ts";

/** Whole blocks of a source. */
export interface Stretch {
  readonly offset: number;
  readonly length: number;
}

/** See the module. */
export interface ObjectSource {
  /** Whole blocks. The kernel drops what it has cached under the name when this is another than last time. */
  readonly sizeBytes: number;
  /** An image that reads it, for the log. */
  readonly known: KnownImage | undefined;
  /** What is best given along with a stretch, the stretch in it: `maxBytes` at most, unless that has more. */
  widened(stretch: Stretch, maxBytes: number): Stretch;
  /** Fills `out` from `offset`, whole blocks. @throws when the bytes cannot be had */
  read(offset: number, out: Uint8Array, signal: AbortSignal): Promise<void>;
}

/** A file of ours that holds everything. */
export class ImageSource implements ObjectSource, Disposable {
  /** @param file whole blocks; goes with the source */
  constructor(readonly known: KnownImage | undefined, private readonly file: Fd, readonly sizeBytes: number) {}

  widened({ offset, length }: Stretch, maxBytes: number): Stretch {
    return { offset, length: Math.max(length, Math.min(maxBytes, this.sizeBytes - offset)) };
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

/** A device: the chunks of one blob, for all images that have it. */
export class DeviceSource implements ObjectSource {
  readonly #uses = new Set<DeviceUse>();

  constructor(readonly sizeBytes: number) {}

  get known(): KnownImage | undefined {
    for (const { known } of this.#uses) return known;
    return undefined;
  }

  /** An image uses it. */
  add(use: DeviceUse): void {
    this.#uses.add(use);
  }

  /** An image does not use it any more. False: none does. */
  remove(use: DeviceUse): boolean {
    this.#uses.delete(use);
    return this.#uses.size > 0;
  }

  /** Chunks are fetched whole, so they are given whole; those behind them that are there come along. */
  widened(stretch: Stretch, maxBytes: number): Stretch {
    const { table, blob } = this.#useOf(stretch);
    const chunks = deviceExtents(table, stretch.offset, stretch.length).filter(({ blobIndex }) => blobIndex !== HOLE);
    const first = chunks[0], last = chunks.at(-1);
    if (first === undefined || last === undefined) return stretch;
    const offset = startOf(first);
    let end = endOf(last);
    if (end - offset > maxBytes) return stretch;
    for (const chunk of deviceExtents(table, end, offset + maxBytes - end)) {
      if (chunk.blobIndex === HOLE && chunk.fileOffset < end) continue; // what is left of the last block
      if (chunk.fileOffset !== end || !isReady(chunk, blob) || endOf(chunk) - offset > maxBytes) break;
      end = endOf(chunk);
    }
    return { offset, length: end - offset };
  }

  async read(offset: number, out: Uint8Array, signal: AbortSignal): Promise<void> {
    const { known, table } = this.#useOf({ offset, length: out.length });
    const extents = deviceExtents(table, offset, out.length);
    await fetchExtents(known, extents, signal);
    readExtents(extents, known.blobs, out);
  }

  /** An image that has chunks at every block: what lies elsewhere is nobody's. */
  #useOf({ offset, length }: Stretch): DeviceUse {
    for (const use of this.#uses) if (mayRead(use.table, offset, length)) return use;
    throw new NydusGdError("not-found", "Cannot read device: no image has it");
  }
}

/** Where the chunk of a piece begins in its device. */
function startOf({ fileOffset, blobOffset, chunkOffset }: Extent): number {
  return fileOffset - (blobOffset - chunkOffset);
}

/** Where the last block of the chunk of a piece ends. */
function endOf(extent: Extent): number {
  return roundUp(startOf(extent) + extent.chunkLength, DEVICE_BLOCK);
}
