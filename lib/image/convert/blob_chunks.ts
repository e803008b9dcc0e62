/**
 * The chunk data of one blob: equal chunks once, small ones together, compressed elsewhere, stored in the order in
 * which they came.
 *
 * ```
 * add ─► digest ─► known? its place ─► batch ─► parcel ─► compress (Workers) ─► queue ─► settle: write, in order
 * ```
 * A place is known when its chunk is stored, by the end of {@link BlobChunks.finish} at the latest. What is on the way
 * is bounded by {@link IN_FLIGHT_BYTES}, or three chunks where these are larger: whoever adds waits for
 * {@link BlobChunks.settle} when {@link BlobChunks.isFull} says so. Memory beside that: 200 bytes a chunk.
 *
 * @module
 */
import { toByteString } from "../../base/bytes.ts";
import { digest } from "../../blob/codec.ts";
import { CHUNK_FLAG, type ChunkRecord } from "../../rafs/bootstrap.ts";
import type { ChunkInfoWriter } from "../../rafs/chunk_info_writer.ts";
import type { ChunkPlace } from "../../rafs/v6/writer.ts";
import type { ChunkDictionary, DictionaryBlob } from "./chunk_dictionary.ts";
import type { Compressor } from "./compress_pool.ts";
import type { Parcel } from "./compression.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** Plain bytes that are compressed or wait for it. */
const IN_FLIGHT_BYTES = 16 << 20;
/** Plain bytes that go to a Worker together: a message costs more than a small chunk. */
const PARCEL_BYTES = 1 << 20;

/** A chunk of a file, wherever it is stored. */
export class StoredPlace implements ChunkPlace {
  chunkIndex = 0;
  uncompressedOffset = 0;

  /** @param blob this blob, or one of a dictionary */
  constructor(private readonly blob: { readonly index: number }) {}

  get blobIndex(): number {
    return this.blob.index;
  }
}

interface Member {
  readonly place: StoredPlace;
  readonly digest: Uint8Array;
  readonly size: number;
}

/** What is compressed in one go: a chunk, or the chunks of a batch. */
interface Unit {
  readonly members: readonly Member[];
  readonly plainBytes: number;
  readonly isBatch: boolean;
}

/** Units on their way to the blob. */
interface Job {
  readonly units: readonly Unit[];
  readonly plainBytes: number;
  readonly stored: Promise<Parcel>;
}

/** Units that are gathered. */
interface OpenParcel {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly units: Unit[];
  filled: number;
}

/** What {@link BlobChunks} is made of. */
export interface BlobChunksOptions {
  readonly rafs: RafsOptions;
  readonly infos: ChunkInfoWriter;
  readonly compressor: Compressor;
  /** Chunks of other images, not stored again. */
  readonly dictionary: ChunkDictionary | undefined;
  /** Appends to the blob; the bytes are its only during the call. */
  write(bytes: Uint8Array): void;
}

/** See the module. */
export class BlobChunks {
  /** Of this blob, in the order of its chunks. */
  readonly records: Readonly<ChunkRecord>[] = [];
  /** This blob: its row in the blob table. */
  readonly own = { index: 0 };
  readonly #known = new Map<string, StoredPlace>();
  readonly #queue: Job[] = [];
  #inFlight = 0;
  #size = 0;
  readonly #batch: { readonly plain: Uint8Array<ArrayBuffer>; members: Member[]; filled: number };
  #parcel: OpenParcel | undefined;
  readonly #parcelBytes: number;
  readonly #dictionaryBlobs = new Map<DictionaryBlob, { index: number }>();
  /** Chunks of the dictionary that were found, in the order of first use. */
  readonly dictionaryChunks: { readonly place: StoredPlace; readonly record: Readonly<ChunkRecord> }[] = [];

  constructor(private readonly options: BlobChunksOptions) {
    const { chunkSize, batchSize } = options.rafs;
    this.#batch = { plain: new Uint8Array(batchSize), members: [], filled: 0 };
    this.#parcelBytes = Math.max(PARCEL_BYTES, chunkSize);
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
   * Adds a chunk, unless it is known.
   *
   * @param plain taken during the call only
   * @param isWholeFile whether it may share a batch
   */
  add(plain: Uint8Array, isWholeFile: boolean): StoredPlace {
    const { rafs } = this.options;
    const sum = digest(rafs.digester, plain);
    const key = toByteString(sum);
    const known = this.#known.get(key) ?? this.#inDictionary(key);
    if (known !== undefined) return known;
    const place = new StoredPlace(this.own);
    this.#known.set(key, place);
    const member = { place, digest: sum, size: plain.length };
    if (isWholeFile && plain.length < rafs.batchSize / 2) this.#addToBatch(plain, member);
    else this.#addUnit(plain, { members: [member], plainBytes: plain.length, isBatch: false });
    return place;
  }

  /** Stores what has been compressed, until there is room for more. */
  async settle(): Promise<void> {
    while (this.isFull) await this.#storeNext();
  }

  /** Stores all that was added. Nothing is added afterwards. */
  async finish(): Promise<void> {
    this.#closeBatch();
    this.#sendParcel();
    while (this.#queue.length > 0) await this.#storeNext();
  }

  #inDictionary(key: string): StoredPlace | undefined {
    const found = this.options.dictionary?.find(key);
    if (found === undefined) return undefined;
    let row = this.#dictionaryBlobs.get(found.blob);
    if (row === undefined) this.#dictionaryBlobs.set(found.blob, row = { index: 0 });
    const place = Object.assign(new StoredPlace(row), {
      chunkIndex: found.chunkIndex,
      uncompressedOffset: found.uncompressedOffset,
    });
    this.#known.set(key, place);
    this.dictionaryChunks.push({ place, record: found.record });
    return place;
  }

  #addToBatch(plain: Uint8Array, member: Member): void {
    const batch = this.#batch;
    if (batch.filled + plain.length > batch.plain.length) this.#closeBatch();
    batch.plain.set(plain, batch.filled);
    batch.filled += plain.length;
    batch.members.push(member);
  }

  #closeBatch(): void {
    const batch = this.#batch;
    if (batch.filled === 0) return;
    const { members, filled } = batch;
    this.#addUnit(batch.plain.subarray(0, filled), { members, plainBytes: filled, isBatch: true });
    batch.members = [];
    batch.filled = 0;
  }

  #addUnit(plain: Uint8Array, unit: Unit): void {
    if (this.#parcel !== undefined && this.#parcel.filled + plain.length > this.#parcelBytes) this.#sendParcel();
    const room = () => ({ plain: this.options.compressor.room(this.#parcelBytes), units: [], filled: 0 });
    const parcel: OpenParcel = this.#parcel ??= room();
    parcel.plain.set(plain, parcel.filled);
    parcel.filled += plain.length;
    parcel.units.push(unit);
  }

  #sendParcel(): void {
    if (this.#parcel === undefined) return;
    const { plain, units, filled } = this.#parcel;
    this.#parcel = undefined;
    this.#inFlight += filled;
    const stored = this.options.compressor.compress({ bytes: plain, sizes: units.map(({ plainBytes }) => plainBytes) });
    stored.catch(() => {}); // told when its turn comes
    this.#queue.push({ units, plainBytes: filled, stored });
  }

  async #storeNext(): Promise<void> {
    const job = this.#queue.shift();
    if (job === undefined) return;
    const { bytes, sizes } = await job.stored;
    this.#inFlight -= job.plainBytes;
    this.options.write(bytes.subarray(0, sizes.reduce((sum, size) => sum + size, 0)));
    job.units.forEach((unit, k) => {
      const compressedSize = sizes[k] as number;
      if (unit.isBatch) this.#placeBatch(unit, compressedSize);
      else this.#placeChunk(unit.members[0] as Member, compressedSize);
      this.#size += compressedSize;
    });
  }

  #placeChunk(member: Member, compressedSize: number): void {
    const { size } = member;
    const placed = this.options.infos.add({ size, compressedOffset: this.#size, compressedSize });
    const flags = compressedSize < size ? CHUNK_FLAG.compressed : 0;
    this.#record(member, placed, { flags, compressedOffset: this.#size, compressedSize });
  }

  /** As nydus-image has it, where a member is stored stands in the compression info alone. */
  #placeBatch({ members, plainBytes }: Unit, compressedSize: number): void {
    let batchOffset = 0;
    for (const member of members) {
      const { size } = member;
      const placed = this.options.infos.addToBatch({ size, compressedOffset: this.#size, batchOffset });
      this.#record(member, placed, { flags: 0, compressedOffset: 0, compressedSize: 0 });
      batchOffset += size;
    }
    this.options.infos.closeBatch(compressedSize, plainBytes);
  }

  #record(
    { place, digest, size }: Member,
    placed: { readonly index: number; readonly uncompressedOffset: number },
    stored: Pick<ChunkRecord, "flags" | "compressedOffset" | "compressedSize">,
  ): void {
    place.chunkIndex = placed.index;
    place.uncompressedOffset = placed.uncompressedOffset;
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
