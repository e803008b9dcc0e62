/**
 * The chunks of all layers as numbered in the merged image: of equal chunks, the one of the lowest layer is used.
 *
 * A blob gets a row in the blob table once a file uses one of its chunks. Memory: 30 bytes per chunk, 80 during
 * collection.
 *
 * @module
 */
import { NydusGdError } from "../../../base/errors.ts";
import { readU32, readU64 } from "../../../base/bytes.ts";
import type { Bootstrap } from "../../../rafs/bootstrap.ts";
import { CHUNK_INFO, type StoredChunkInfo } from "../../../rafs/format/chunk_info.ts";
import type { ChunkInfos } from "../../../rafs/memory/chunk_info_table.ts";
import { DigestNumbers } from "../../../rafs/blob/digest_numbers.ts";
import { BLOB_FEATURE, effectiveBlobId, separateMetaId } from "../../../rafs/format/flags.ts";
import { viewOf } from "../../../rafs/format/guard.ts";
import { GrowingColumn } from "../../../rafs/memory/growing.ts";
import { DROP_INTERVAL, type ImageMemory } from "../../../rafs/memory/image_memory.ts";
import { IndexColumn } from "../../../rafs/memory/index_column.ts";
import type { BlobEntry, MovablePlace } from "../../../rafs/v6/writer.ts";

/** A layer's bootstrap and the id of its blob. */
export interface ChunkedLayer {
  readonly tree: Bootstrap;
  readonly blobId: string;
  /** Its size, for a blob that describes another one. */
  readonly blobBytes?: number | undefined;
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
  /** Number of the first chunk that no layer below has, and of the last one plus one. */
  readonly first: number;
  readonly end: number;
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
 * Merged chunk table. Call {@link use} for every file, then {@link number} once; then {@link infos} are known, and
 * places can be moved. Needs the trees until then.
 */
export class MergedChunks implements ChunkInfos {
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
  /** Offset of its chunk info in the tree of its layer. */
  readonly #infoAt = GrowingColumn.u32();
  readonly #first: Collected | undefined;
  readonly #layers: readonly Collected[];

  /** Number of {@link #rows} that belong to `first`. */
  readonly #firstRows: number;

  /**
   * @param first contains only chunks, which take precedence over equal ones of the layers
   * @param memory for the trees
   */
  constructor(layers: readonly ChunkedLayer[], first: ChunkedLayer | undefined, memory: ImageMemory) {
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

  /** Chunk infos of the used chunks, each once, in the order of the layers. */
  *infos(): Generator<Readonly<StoredChunkInfo>> {
    for (
      const { tree: { bytes }, first, end } of this.#first === undefined ? this.#layers : [this.#first, ...this.#layers]
    ) {
      const info = { bytes, at: 0, blobIndex: 0 };
      for (let chunk = first; chunk < end; chunk++) {
        if (this.#used.at(chunk) === 0) continue;
        info.at = this.#infoAt.at(chunk);
        info.blobIndex = this.#rowOfChunk(chunk).index;
        yield info;
      }
    }
  }

  #rowOfChunk(chunk: number): Row {
    return this.#rows[this.#chunkRow.at(chunk)] as Row;
  }

  #collect({ tree, blobId, blobBytes = 0 }: ChunkedLayer, digests: DigestNumbers, memory: ImageMemory): Collected {
    const rows = tree.blobs.map((described) => {
      const id = effectiveBlobId(described, blobId);
      let row = this.#rowOf.get(id);
      if (row === undefined) {
        const features = (described.features & ~BLOB_FEATURE.inlinedFsMeta) >>> 0;
        this.#rowOf.set(id, row = this.#rows.length);
        const metaBlobId = separateMetaId(described, blobId);
        const entry = { ...described, id, features, metaBlobId, metaBlobSize: blobBytes };
        this.#rows.push({ index: 0, used: false, entry });
      }
      return row;
    });
    const view = viewOf(tree.bytes);
    const first = digests.count;
    const ofBlobs = rows.map(() => new IndexColumn());
    let count = 0;
    for (const at of tree.chunkInfos()) {
      const known = digests.count;
      const chunk = digests.numberOf(tree.bytes, at + CHUNK_INFO.digest);
      const blobIndex = readU32(view, at + CHUNK_INFO.blobIndex);
      if (chunk === known) this.#add(view, at, rows[blobIndex] as number); // readers refuse chunks of other blobs
      (ofBlobs[blobIndex] as IndexColumn).set(readU32(view, at + CHUNK_INFO.index), chunk);
      if (++count % DROP_INTERVAL === 0) memory.dropPages();
    }
    return { tree, first, end: digests.count, ofBlobs };
  }

  #add(view: DataView, at: number, row: number): void {
    this.#chunkRow.push(row);
    this.#chunkIndex.push(readU32(view, at + CHUNK_INFO.index));
    this.#offset.push(readU64(view, at + CHUNK_INFO.uncompressedOffset));
    this.#size.push(readU32(view, at + CHUNK_INFO.uncompressedSize));
    this.#used.push(0);
    this.#infoAt.push(at);
  }
}
