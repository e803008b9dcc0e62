/**
 * The chunk data of one blob: equal chunks once, small ones together, read, digested and compressed elsewhere, stored in
 * the order in which they came.
 *
 * ```
 * add ─► parcel ─► read, digest (Workers) ─► new ones ─► batches ─► compress (the same Worker) ─► write, in order
 * ```
 * A place is known when its chunk is stored, by the end of {@link BlobChunks.finish} at the latest. What is on the way
 * is bounded by {@link IN_FLIGHT_BYTES}, or three parcels where these are larger: whoever adds waits for
 * {@link BlobChunks.settle} when {@link BlobChunks.isFull} says so. Memory beside that: 300 bytes a chunk.
 *
 * @module
 */
import { toByteString } from "../../base/bytes.ts";
import { CHUNK_FLAG, type ChunkRecord } from "../../rafs/bootstrap.ts";
import { DIGEST_SIZE } from "../../rafs/chunk_table.ts";
import type { ChunkInfoWriter } from "../../rafs/chunk_info_writer.ts";
import type { ChunkDictionary, DictionaryBlob } from "./chunk_dictionary.ts";
import type { Compressor, HeldParcel } from "./compress_pool.ts";
import type { FileChunk, StoredUnits } from "./parcel.ts";
import type { RafsOptions } from "./rafs_options.ts";
import { StoredPlace } from "./stored_place.ts";

/** Plain bytes that are with the Workers. */
const IN_FLIGHT_BYTES = 16 << 20;
/** Plain bytes that go to a Worker together: a message costs more than a small chunk. */
const PARCEL_BYTES = 1 << 20;

interface Chunk {
  readonly place: StoredPlace;
  /** Bytes. */
  readonly size: number;
  /** It may share a batch. */
  readonly isWholeFile: boolean;
}

/** A chunk that is new. */
interface Member extends Chunk {
  readonly digest: Uint8Array;
  /** In its parcel. */
  readonly position: number;
}

/** What is compressed in one go: a chunk, or the chunks of a batch. */
type Unit = readonly Member[];

/** A parcel whose new chunks are known. */
interface Sorted {
  readonly units: readonly Unit[];
  readonly stored: Promise<StoredUnits>;
}

/** Chunks that are gathered. */
interface OpenParcel {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly chunks: Chunk[];
  readonly files: (FileChunk | undefined)[];
  filled: number;
}

/** What {@link BlobChunks} is made of. */
export interface BlobChunksOptions {
  readonly rafs: RafsOptions;
  readonly infos: ChunkInfoWriter;
  readonly compressor: Compressor;
  /** Chunks of other images, not stored again. */
  readonly dictionary: ChunkDictionary | undefined;
  /** Appends to the blob; the bytes are its only until that is done. One call at a time. */
  write(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** See the module. */
export class BlobChunks {
  /** Of this blob, in the order of its chunks. */
  readonly records: Readonly<ChunkRecord>[] = [];
  /** This blob: its row in the blob table. */
  readonly own = { index: 0 };
  readonly #known = new Map<string, StoredPlace>();
  /** For each parcel that was sent, until it is stored: it settles then. */
  readonly #queue: Promise<void>[] = [];
  #inFlight = 0;
  #size = 0;
  #parcel: OpenParcel | undefined;
  readonly #parcelBytes: number;
  /** Resolves when the parcel that was sent last is sorted. */
  #lastSorted: Promise<unknown> = Promise.resolve();
  /** Resolves when it is stored. */
  #lastStored: Promise<void> = Promise.resolve();
  readonly #dictionaryBlobs = new Map<DictionaryBlob, { index: number }>();
  /** Chunks of the dictionary that were found, in the order of first use. */
  readonly dictionaryChunks: { readonly place: StoredPlace; readonly record: Readonly<ChunkRecord> }[] = [];

  constructor(private readonly options: BlobChunksOptions) {
    this.#parcelBytes = Math.max(PARCEL_BYTES, options.rafs.chunkSize);
  }

  /** Bytes of chunk data so far. */
  get size(): number {
    return this.#size;
  }

  /** Whether {@link settle} has to be waited for before more is added. */
  get isFull(): boolean {
    return this.#inFlight > Math.max(IN_FLIGHT_BYTES, 3 * this.#parcelBytes) - this.#parcelBytes;
  }

  /** Blobs of the dictionary that chunks were found in, in the order of first use, with what numbers their rows. */
  get dictionaryBlobs(): readonly (readonly [DictionaryBlob, { index: number }])[] {
    return [...this.#dictionaryBlobs];
  }

  /**
   * Adds a chunk.
   *
   * @param content its bytes, taken during the call only, or the file that has them
   * @param isWholeFile whether it may share a batch
   */
  add(content: Uint8Array | FileChunk, size: number, isWholeFile: boolean): StoredPlace {
    if (this.#parcel !== undefined && this.#parcel.filled + size > this.#parcelBytes) this.#sendParcel();
    const room = () => ({ plain: this.options.compressor.room(this.#parcelBytes), chunks: [], files: [], filled: 0 });
    const parcel: OpenParcel = this.#parcel ??= room();
    const isHere = content instanceof Uint8Array;
    if (isHere) parcel.plain.set(content, parcel.filled);
    const place = new StoredPlace(this.own);
    parcel.chunks.push({ place, size, isWholeFile });
    parcel.files.push(isHere ? undefined : content);
    parcel.filled += size;
    return place;
  }

  /** Waits until there is room for more. @throws what storing throws */
  async settle(): Promise<void> {
    while (this.isFull) await this.#queue.shift();
  }

  /** Stores all that was added. Nothing is added afterwards. @throws what storing throws */
  async finish(): Promise<void> {
    this.#sendParcel();
    await Promise.all(this.#queue);
    this.options.compressor.clearRoom();
  }

  #sendParcel(): void {
    if (this.#parcel === undefined) return;
    const { plain, chunks, files, filled } = this.#parcel;
    this.#parcel = undefined;
    this.#inFlight += filled;
    const held = this.options.compressor.take({ bytes: plain, sizes: chunks.map(({ size }) => size), files });
    const sorted = this.#sort(chunks, held, this.#lastSorted);
    const stored = this.#store(sorted, filled, this.#lastStored);
    stored.catch(() => {}); // told when its turn comes
    this.#lastSorted = sorted;
    this.#lastStored = stored;
    this.#queue.push(stored);
  }

  /** Tells new chunks from known ones, in the order of the parcels, and has the new ones compressed. */
  async #sort(chunks: readonly Chunk[], held: HeldParcel, earlier: Promise<unknown>): Promise<Sorted> {
    const [digests] = await Promise.all([held.digests, earlier]);
    const units = this.#unitsOf(chunks, digests);
    const stored = held.store(units.map((unit) => unit.map(({ position }) => position)));
    stored.catch(() => {}); // as above
    return { units, stored };
  }

  #unitsOf(chunks: readonly Chunk[], digests: Uint8Array): Unit[] {
    const { batchSize } = this.options.rafs;
    const units: Member[][] = [];
    /** One of the units, which takes more. */
    let batch: Member[] = [];
    let batchBytes = Infinity;
    chunks.forEach((chunk, position) => {
      const digest = digests.subarray(position * DIGEST_SIZE, (position + 1) * DIGEST_SIZE);
      const key = toByteString(digest);
      const known = this.#known.get(key) ?? this.#inDictionary(key);
      if (known !== undefined) return chunk.place.becomeSame(known);
      this.#known.set(key, chunk.place);
      const member = { ...chunk, digest, position };
      if (!chunk.isWholeFile || chunk.size >= batchSize / 2) {
        units.push([member]);
        return;
      }
      if (batchBytes + chunk.size > batchSize) {
        units.push(batch = []);
        batchBytes = 0;
      }
      batch.push(member);
      batchBytes += chunk.size;
    });
    return units;
  }

  #inDictionary(key: string): StoredPlace | undefined {
    const found = this.options.dictionary?.find(key);
    if (found === undefined) return undefined;
    let row = this.#dictionaryBlobs.get(found.blob);
    if (row === undefined) this.#dictionaryBlobs.set(found.blob, row = { index: 0 });
    const place = new StoredPlace(row);
    place.becomeStored(found.chunkIndex, found.uncompressedOffset);
    this.#known.set(key, place);
    this.dictionaryChunks.push({ place, record: found.record });
    return place;
  }

  /** Writes a parcel and tells its chunks where they are, in the order of the parcels. */
  async #store(sorted: Promise<Sorted>, plainBytes: number, earlier: Promise<void>): Promise<void> {
    const [{ units, stored }] = await Promise.all([sorted, earlier]);
    const { bytes, sizes } = await stored;
    await this.options.write(bytes);
    this.options.compressor.giveBack(bytes.buffer);
    units.forEach((unit, k) => {
      const compressedSize = sizes[k] as number;
      if (unit.length > 1) this.#placeBatch(unit, compressedSize);
      else for (const member of unit) this.#placeChunk(member, compressedSize);
      this.#size += compressedSize;
    });
    this.#inFlight -= plainBytes;
  }

  #placeChunk(member: Member, compressedSize: number): void {
    const { size } = member;
    const placed = this.options.infos.add({ size, compressedOffset: this.#size, compressedSize });
    const flags = compressedSize < size ? CHUNK_FLAG.compressed : 0;
    this.#record(member, placed, { flags, compressedOffset: this.#size, compressedSize });
  }

  /** As nydus-image has it, where a member is stored stands in the compression info alone. */
  #placeBatch(unit: Unit, compressedSize: number): void {
    let batchOffset = 0;
    for (const member of unit) {
      const { size } = member;
      const placed = this.options.infos.addToBatch({ size, compressedOffset: this.#size, batchOffset });
      this.#record(member, placed, { flags: 0, compressedOffset: 0, compressedSize: 0 });
      batchOffset += size;
    }
    this.options.infos.closeBatch(compressedSize, batchOffset);
  }

  #record(
    { place, digest, size }: Member,
    placed: { readonly index: number; readonly uncompressedOffset: number },
    stored: Pick<ChunkRecord, "flags" | "compressedOffset" | "compressedSize">,
  ): void {
    place.becomeStored(placed.index, placed.uncompressedOffset);
    this.records.push({
      blobIndex: 0,
      chunkIndex: placed.index,
      digest,
      uncompressedOffset: placed.uncompressedOffset,
      uncompressedSize: size,
      crc32: 0,
      ...stored,
    });
  }
}
