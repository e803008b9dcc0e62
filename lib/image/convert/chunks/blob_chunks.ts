/**
 * The chunk data of one blob: deduplicated, small chunks batched; read, digested and compressed by Workers, and stored
 * in the order in which chunks were added.
 *
 * ```
 * add ─► parcel ─► read, digest (Workers) ─► new ones ─► batches ─► compress (the same Worker) ─► write, in order
 * ```
 * A place is resolved once its chunk is stored, at the latest after {@link BlobChunks.finish}. Data in flight is
 * bounded by {@link IN_FLIGHT_BYTES}, or three parcels if these are larger: callers await {@link BlobChunks.settle}
 * when {@link BlobChunks.isFull}. Other memory: 4 bytes per place, 50 per chunk, and 80 per chunk that are read only at
 * the end.
 *
 * @module
 */
import { toByteString } from "../../../base/bytes.ts";
import { CHUNK_FLAG, type ChunkRecord } from "../../../rafs/bootstrap.ts";
import type { ChunkInfoWriter } from "../../../rafs/blob/chunk_info_writer.ts";
import { type ChunkInfos, ChunkInfoTable } from "../../../rafs/memory/chunk_info_table.ts";
import { DIGEST_SIZE } from "../../../rafs/blob/chunk_table.ts";
import { DigestNumbers } from "../../../rafs/blob/digest_numbers.ts";
import { GrowingColumn } from "../../../rafs/memory/growing.ts";
import type { ImageMemory } from "../../../rafs/memory/image_memory.ts";
import type { ChunkLocation } from "../../../rafs/v6/writer.ts";
import type { ChunkDictionary, DictionaryBlob, DictionaryChunk } from "./chunk_dictionary.ts";
import type { LayerChunks } from "./layer_chunks.ts";
import type { HeldParcel, ParcelCompressor } from "./compress_pool.ts";
import { OpenParcel } from "./open_parcel.ts";
import type { FileChunk, ParcelUnits, StoredUnits } from "./parcel.ts";
import type { RafsOptions } from "../format/rafs_options.ts";

/** Maximum bytes in flight in the Workers. */
const IN_FLIGHT_BYTES = 16 << 20;
/** What a chunk in flight counts in addition to its plain bytes: a folder of tiny files would be in flight as a whole. */
const CHUNK_BYTES = 256;
/** Plain bytes sent to a Worker together: a message costs more than a small chunk. */
const PARCEL_BYTES = 1 << 20;

/** Flag on a place: it refers to another place. Flag on an index: it refers to a chunk of the dictionary. */
const OTHER = 0x8000_0000;

/** A parcel whose new chunks are known. */
interface Sorted {
  readonly units: ParcelUnits;
  /** The digest number of each chunk of the parcel. */
  readonly numbers: Uint32Array;
  readonly stored: Promise<StoredUnits>;
}

/** Dependencies and options of {@link BlobChunks}. */
export interface BlobChunksOptions {
  readonly rafs: RafsOptions;
  readonly infos: ChunkInfoWriter;
  readonly compressor: ParcelCompressor;
  /** Chunks of other images, which are not stored again. */
  readonly dictionary: ChunkDictionary | undefined;
  /** Memory for data that is read only sequentially. */
  readonly memory: ImageMemory | undefined;
  /** Appends to the blob. The bytes must stay unchanged until it resolves. Calls do not overlap. */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** Collects and stores the chunks of one blob. Places are numbered in the order of the calls that return them. */
export class BlobChunks implements LayerChunks {
  /** Chunks of this blob, one row each. */
  #records: ChunkInfoTable;
  /** Row of this blob in the blob table. */
  readonly own = { index: 0 };
  /** Digests of all chunks, including those of the dictionary. */
  readonly #digests = new DigestNumbers();
  /** Chunk index by digest number, once the chunk is stored. */
  readonly #indexes = GrowingColumn.u32();
  /** Digest number by place, once its parcel is sorted. */
  readonly #places = GrowingColumn.u32();
  /** One promise per parcel in flight; resolves when the parcel is stored. */
  readonly #queue: Promise<void>[] = [];
  #inFlight = 0;
  #size = 0;
  #parcel: OpenParcel | undefined;
  readonly #parcelBytes: number;
  /** Resolves when the last parcel sent is sorted. */
  #lastSorted: Promise<unknown> = Promise.resolve();
  /** Resolves when the last parcel sent is stored. */
  #lastStored: Promise<void> = Promise.resolve();
  readonly #dictionaryBlobs = new Map<DictionaryBlob, { index: number }>();
  /** Chunks found in the dictionary, in order of first use. */
  readonly #dictionaryChunks: { readonly row: { readonly index: number }; readonly chunk: DictionaryChunk }[] = [];

  constructor(private readonly options: BlobChunksOptions) {
    this.#records = new ChunkInfoTable(options.memory);
    this.#parcelBytes = Math.max(PARCEL_BYTES, options.rafs.chunkSize, options.rafs.batchSize);
  }

  /** Bytes of chunk data so far. */
  get size(): number {
    return this.#size;
  }

  /** Whether {@link settle} must be awaited before more is added. */
  get isFull(): boolean {
    return this.#inFlight > Math.max(IN_FLIGHT_BYTES, 3 * this.#parcelBytes) - this.#parcelBytes;
  }

  /** Number of stored chunks of this blob. */
  get count(): number {
    return this.#records.count;
  }

  /** Dictionary blobs in which chunks were found, in order of first use, with the object that numbers their rows. */
  get dictionaryBlobs(): readonly (readonly [DictionaryBlob, { index: number }])[] {
    return [...this.#dictionaryBlobs];
  }

  /** This blob's chunks, followed by those found in the dictionary. */
  get all(): ChunkInfos {
    const own = this.#records, others = this.#dictionaryChunks;
    return {
      count: own.count + others.length,
      *infos() {
        yield* own.infos();
        for (const { row, chunk } of others) yield { bytes: chunk.info, at: 0, blobIndex: row.index };
      },
    };
  }

  /** Resolves a place; possible once everything is stored and the blobs are numbered. */
  placeOf(place: number): ChunkLocation {
    const same = this.#places.at(place);
    const index = this.#indexes.at(same < OTHER ? same : this.#places.at(same - OTHER));
    if (index < OTHER) {
      const blobIndex = this.own.index;
      return { blobIndex, chunkIndex: index, uncompressedOffset: this.#records.uncompressedOffsetOf(index) };
    }
    const { row, chunk } = this.#dictionaryChunks[index - OTHER] as { row: { index: number }; chunk: DictionaryChunk };
    const { chunkIndex, uncompressedOffset } = chunk;
    return { blobIndex: row.index, chunkIndex, uncompressedOffset };
  }

  /**
   * Adds a chunk and returns its place.
   *
   * @param content its bytes, used only during the call, or the file that contains them
   * @param isWholeFile whether it may be batched with others
   */
  add(content: Uint8Array | FileChunk, size: number, isWholeFile: boolean): number {
    if (this.#parcel !== undefined && this.#parcel.filled + size > this.#parcelBytes) this.#sendParcel();
    const parcel = this.#parcel ??= new OpenParcel(this.options.compressor.room(this.#parcelBytes));
    const place = this.#places.push(0);
    parcel.add(content, place, size, isWholeFile);
    return place;
  }

  /** Returns another place for the chunk that was added at `place`. */
  addAgain(place: number): number {
    return this.#places.push(OTHER + place);
  }

  /** Waits until there is room for more. @throws errors of storing */
  async settle(): Promise<void> {
    while (this.isFull) await this.#queue.shift();
  }

  /** Stores everything added; nothing may be added afterwards. @throws errors of storing */
  async finish(): Promise<void> {
    this.#sendParcel();
    await Promise.all(this.#queue);
    await this.options.compressor.trim();
  }

  /** Drops the chunks, once they are no longer needed. */
  clear(): void {
    this.#records = new ChunkInfoTable();
    for (const column of [this.#digests, this.#indexes, this.#places]) column.clear();
  }

  #sendParcel(): void {
    const parcel = this.#parcel;
    if (parcel === undefined) return;
    this.#parcel = undefined;
    this.#inFlight += heldBytes(parcel);
    const held = this.options.compressor.take(parcel.parcel, this.options.rafs.digester);
    const sorted = this.#sort(parcel, held, this.#lastSorted);
    const stored = this.#store(parcel, sorted, this.#lastStored);
    stored.catch(() => {}); // the error is reported when its turn comes
    this.#lastSorted = sorted;
    this.#lastStored = stored;
    this.#queue.push(stored);
  }

  /** Separates new chunks from known ones, in the order of the parcels, and has the new ones compressed. */
  async #sort(parcel: OpenParcel, held: HeldParcel, earlier: Promise<unknown>): Promise<Sorted> {
    const [digests] = await Promise.all([held.digests, earlier]);
    const numbers = new Uint32Array(parcel.count);
    const units = this.#unitsOf(parcel, digests, numbers);
    const stored = held.store(units, this.options.rafs);
    stored.catch(() => {}); // as above
    return { units, numbers, stored };
  }

  #unitsOf(parcel: OpenParcel, digests: Uint8Array, numbers: Uint32Array): ParcelUnits {
    const { batchSize } = this.options.rafs;
    const units: number[][] = [];
    /** Current unit that still accepts chunks. */
    let batch: number[] = [];
    let batchBytes = Infinity;
    let count = 0;
    for (let position = 0; position < parcel.count; position++) {
      const known = this.#digests.count;
      const number = numbers[position] = this.#digests.numberOf(digests, position * DIGEST_SIZE);
      this.#places.set(parcel.places.at(position), number);
      if (number < known) continue;
      this.#indexes.push(0);
      if (this.#inDictionary(number)) continue;
      count++;
      const size = parcel.sizeOf(position);
      if (!parcel.isWholeFile(position) || size >= batchSize / 2) {
        units.push([position]);
        continue;
      }
      if (batchBytes + size > batchSize) {
        units.push(batch = []);
        batchBytes = 0;
      }
      batch.push(position);
      batchBytes += size;
    }
    return columnsOf(units, count);
  }

  #inDictionary(number: number): boolean {
    const { dictionary } = this.options;
    const chunk = dictionary?.find(toByteString(this.#digests.digestOf(number)));
    if (chunk === undefined) return false;
    let row = this.#dictionaryBlobs.get(chunk.blob);
    if (row === undefined) this.#dictionaryBlobs.set(chunk.blob, row = { index: 0 });
    this.#indexes.set(number, OTHER + this.#dictionaryChunks.push({ row, chunk }) - 1);
    return true;
  }

  /** Writes a parcel and records the places of its chunks, in the order of the parcels. */
  async #store(parcel: OpenParcel, sorted: Promise<Sorted>, earlier: Promise<void>): Promise<void> {
    const [{ units, numbers, stored }] = await Promise.all([sorted, earlier]);
    const { bytes, sizes } = await stored;
    await this.options.write(bytes);
    this.options.compressor.recycle(bytes.buffer);
    let from = 0;
    units.ends.forEach((end, k) => {
      const compressedSize = sizes[k] as number;
      const unit = units.positions.subarray(from, end);
      from = end;
      if (unit.length > 1) this.#placeBatch(parcel, numbers, unit, compressedSize);
      else for (const position of unit) this.#placeChunk(parcel, numbers, position, compressedSize);
      this.#size += compressedSize;
    });
    this.#inFlight -= heldBytes(parcel);
  }

  #placeChunk(parcel: OpenParcel, numbers: Uint32Array, position: number, compressedSize: number): void {
    const size = parcel.sizeOf(position);
    const placed = this.options.infos.add({ size, compressedOffset: this.#size, compressedSize });
    const flags = compressedSize < size ? CHUNK_FLAG.compressed : 0;
    const stored = { flags, compressedOffset: this.#size, compressedSize };
    this.#record(numbers[position] as number, size, placed, stored);
  }

  /** As in nydus-image, the location of a batch member is stored only in the compression info. */
  #placeBatch(parcel: OpenParcel, numbers: Uint32Array, unit: Uint32Array, compressedSize: number): void {
    let batchOffset = 0;
    for (const position of unit) {
      const size = parcel.sizeOf(position);
      const placed = this.options.infos.addToBatch({ size, compressedOffset: this.#size, batchOffset });
      this.#record(numbers[position] as number, size, placed, NOT_SAID);
      batchOffset += size;
    }
    this.options.infos.closeBatch(compressedSize, batchOffset);
  }

  #record(
    number: number,
    size: number,
    placed: { readonly index: number; readonly uncompressedOffset: number },
    stored: Pick<ChunkRecord, "flags" | "compressedOffset" | "compressedSize">,
  ): void {
    this.#indexes.set(number, placed.index);
    this.#records.push({
      blobIndex: 0,
      chunkIndex: placed.index,
      digest: this.#digests.digestOf(number),
      uncompressedOffset: placed.uncompressedOffset,
      uncompressedSize: size,
      crc32: 0,
      ...stored,
    });
  }
}

function heldBytes({ filled, count }: OpenParcel): number {
  return filled + count * CHUNK_BYTES;
}

const NOT_SAID = { flags: 0, compressedOffset: 0, compressedSize: 0 };

function columnsOf(units: readonly (readonly number[])[], count: number): ParcelUnits {
  const positions = new Uint32Array(count);
  let end = 0;
  const ends = Uint32Array.from(units, (unit) => {
    positions.set(unit, end);
    return end += unit.length;
  });
  return { positions, ends };
}
