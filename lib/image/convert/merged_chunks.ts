/**
 * The chunks of all layers as numbered in the merged image: of equal chunks, the one of the lowest layer is used.
 *
 * A blob gets a row in the blob table once a file uses one of its chunks. Memory: 30 bytes per chunk, 80 during
 * collection.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import type { Bootstrap, ChunkRecord } from "../../rafs/bootstrap.ts";
import type { ChunkRecords } from "../../rafs/chunk_info_table.ts";
import { DigestNumbers } from "../../rafs/digest_numbers.ts";
import { BLOB_FEATURE, effectiveBlobId } from "../../rafs/flags.ts";
import { GrowingColumn } from "../../rafs/growing.ts";
import { DROP_INTERVAL, type ImageMemory, ORDINARY_MEMORY } from "../../rafs/image_memory.ts";
import { IndexColumn } from "../../rafs/index_column.ts";
import type { BlobEntry, MovablePlace } from "../../rafs/v6/writer.ts";

/** A layer's bootstrap and the id of its blob. */
export interface ChunkedLayer {
  readonly tree: Bootstrap;
  readonly blobId: string;
}

/** A blob of the merged image. */
interface Row {
  /** Known once the blobs are numbered. */
  index: number;
  used: boolean;
  readonly entry: BlobEntry;
}

/** A layer whose chunks have been collected. */
interface Collected {
  readonly tree: Bootstrap;
  /** Chunk number of each record, in the order of the tree. */
  readonly numbers: GrowingColumn;
  /** For each blob of the tree, chunk numbers by chunk index. */
  readonly ofBlobs: readonly IndexColumn[];
}

/** Chunks whose number a place can name by its index, which has 24 bits. */
const INDEXES = 1 << 24;
/** Offsets of places are multiples of this. */
const BLOCK = 4096;

/** Sets `place` to the one that stands for a chunk until {@link MergedChunks.move}. */
export function nameChunk(chunk: number, place: MovablePlace): void {
  place.blobIndex = 0;
  place.chunkIndex = chunk % INDEXES;
  place.uncompressedOffset = Math.floor(chunk / INDEXES) * BLOCK;
}

/**
 * Merged chunk table. Call {@link use} for every file, then {@link number} once; then {@link records} are known, and
 * places can be moved.
 */
export class MergedChunks implements ChunkRecords {
  readonly #rows: Row[] = [];
  /** Positions in {@link #rows} by blob id. */
  readonly #rowOf = new Map<string, number>();
  /** Row by chunk number. */
  readonly #chunkRow = GrowingColumn.u32();
  readonly #chunkIndex = GrowingColumn.u32();
  readonly #offset = GrowingColumn.doubles();
  readonly #size = GrowingColumn.u32();
  readonly #used = GrowingColumn.u32();
  #usedCount = 0;
  readonly #first: Collected | undefined;
  readonly #layers: readonly Collected[];

  /** Number of {@link #rows} that belong to `first`. */
  readonly #firstRows: number;

  /**
   * @param first contains only chunks, which take precedence over equal ones of the layers
   * @param memory for the trees
   */
  constructor(layers: readonly ChunkedLayer[], first?: ChunkedLayer, memory = ORDINARY_MEMORY) {
    const digests = new DigestNumbers();
    this.#first = first && this.#collect(first, digests, memory);
    this.#firstRows = this.#rows.length;
    this.#layers = layers.map((layer) => this.#collect(layer, digests, memory));
    digests.clear();
  }

  /**
   * Marks a chunk of a layer's file as used and returns its number.
   *
   * @throws {NydusGdError} "invalid-image" for a chunk that is not in the layer's table
   */
  use(layer: number, blobIndex: number, chunkIndex: number, chunkLength: number): number {
    const chunk = this.#layers[layer]?.ofBlobs[blobIndex]?.at(chunkIndex);
    if (chunk === undefined || this.#size.at(chunk) !== chunkLength) {
      throw new NydusGdError(
        "invalid-image",
        `Cannot convert: chunk ${chunkIndex} of layer ${layer} is not in its chunk table with ${chunkLength} bytes`,
      );
    }
    this.#usedCount += 1 - this.#used.at(chunk);
    this.#used.set(chunk, 1);
    this.#rowOfChunk(chunk).used = true;
    return chunk;
  }

  /** Numbers the used blobs in the order of the layers. */
  number(): BlobEntry[] {
    const used = this.#rows.filter((row) => row.used);
    return used.map((row, index) => ({ ...row.entry, index: row.index = index }));
  }

  /** Replaces a place made by {@link nameChunk} by that of the chunk. */
  move(place: MovablePlace): void {
    const chunk = place.uncompressedOffset / BLOCK * INDEXES + place.chunkIndex;
    place.blobIndex = this.#rowOfChunk(chunk).index;
    place.chunkIndex = this.#chunkIndex.at(chunk);
    place.uncompressedOffset = this.#offset.at(chunk);
  }

  /** Offset of the file in `first` if all its chunks are there; otherwise, or without chunks, undefined. */
  firstOffset(chunks: readonly number[]): number | undefined {
    const [start] = chunks;
    if (
      this.#firstRows === 0 || start === undefined ||
      !chunks.every((chunk) => this.#chunkRow.at(chunk) < this.#firstRows)
    ) return undefined;
    return this.#offset.at(start);
  }

  /** Number of chunks in use. */
  get count(): number {
    return this.#usedCount;
  }

  /** Records of the used chunks, each once, in the order of the layers. */
  *records(): Generator<Readonly<ChunkRecord>> {
    let next = 0;
    for (const { tree, numbers } of this.#first === undefined ? this.#layers : [this.#first, ...this.#layers]) {
      let position = 0;
      for (const record of tree.chunkRecords()) {
        const chunk = numbers.at(position++);
        if (chunk < next) continue; // an earlier layer has it
        next = chunk + 1;
        if (this.#used.at(chunk) === 1) yield { ...record, blobIndex: this.#rowOfChunk(chunk).index };
      }
    }
  }

  #rowOfChunk(chunk: number): Row {
    return this.#rows[this.#chunkRow.at(chunk)] as Row;
  }

  #collect({ tree, blobId }: ChunkedLayer, digests: DigestNumbers, memory: ImageMemory): Collected {
    const rows = tree.blobs.map((described) => {
      const id = effectiveBlobId(described, blobId);
      let row = this.#rowOf.get(id);
      if (row === undefined) {
        const features = (described.features & ~BLOB_FEATURE.inlinedFsMeta) >>> 0;
        this.#rowOf.set(id, row = this.#rows.length);
        this.#rows.push({ index: 0, used: false, entry: { ...described, id, features } });
      }
      return row;
    });
    const numbers = GrowingColumn.u32();
    const ofBlobs = rows.map(() => new IndexColumn());
    for (const record of tree.chunkRecords()) {
      const known = digests.count;
      const chunk = digests.numberOf(record.digest);
      if (chunk === known) this.#add(record, rows[record.blobIndex] as number); // readers refuse records of other blobs
      numbers.push(chunk);
      (ofBlobs[record.blobIndex] as IndexColumn).set(record.chunkIndex, chunk);
      if (numbers.length % DROP_INTERVAL === 0) memory.dropPages();
    }
    return { tree, numbers, ofBlobs };
  }

  #add({ chunkIndex, uncompressedOffset, uncompressedSize }: Readonly<ChunkRecord>, row: number): void {
    this.#chunkRow.push(row);
    this.#chunkIndex.push(chunkIndex);
    this.#offset.push(uncompressedOffset);
    this.#size.push(uncompressedSize);
    this.#used.push(0);
  }
}
