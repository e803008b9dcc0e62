/**
 * The chunks of all layers, as the merged image numbers them: equal ones are one, that of the lowest layer.
 *
 * A blob has its row in the blob table when a file uses a chunk of it. Memory: 400 bytes a chunk.
 *
 * @module
 */
import { toByteString } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Bootstrap, ChunkRecord, Extent } from "../../rafs/bootstrap.ts";
import { BLOB_FEATURE, effectiveBlobId } from "../../rafs/flags.ts";
import type { BlobEntry, ChunkPlace } from "../../rafs/v6/writer.ts";

/** A layer's bootstrap and the blob that it is in. */
export interface ChunkedLayer {
  readonly tree: Bootstrap;
  readonly blobId: string;
}

interface Row {
  index: number;
  used: boolean;
  readonly entry: BlobEntry;
}

/** A chunk of the merged image, its place and its record at the same time. */
export class MergedChunk implements ChunkPlace, Readonly<ChunkRecord> {
  used = false;
  readonly chunkIndex: number;
  readonly digest: Uint8Array;
  readonly flags: number;
  readonly compressedOffset: number;
  readonly compressedSize: number;
  readonly uncompressedOffset: number;
  readonly uncompressedSize: number;
  readonly crc32: number;

  /** @param record is another one afterwards, its digest stays: it is in the bootstrap, which outlives the merging */
  constructor(readonly row: Row, record: Readonly<ChunkRecord>) {
    this.chunkIndex = record.chunkIndex;
    this.digest = record.digest;
    this.flags = record.flags;
    this.compressedOffset = record.compressedOffset;
    this.compressedSize = record.compressedSize;
    this.uncompressedOffset = record.uncompressedOffset;
    this.uncompressedSize = record.uncompressedSize;
    this.crc32 = record.crc32;
  }

  /** Known once the blobs are numbered. */
  get blobIndex(): number {
    return this.row.index;
  }
}

/** See the module: first {@link use} every file, then {@link number} once; places and {@link records} are known then. */
export class MergedChunks {
  readonly #rows = new Map<string, Row>();
  readonly #byDigest = new Map<string, MergedChunk>();
  /** For each layer and blob of its table, its chunks by their index. */
  readonly #ofLayer: MergedChunk[][][] = [];

  /** Rows of what comes first. */
  readonly #firstRows: ReadonlySet<Row>;

  /** @param first has chunks only: where it has one, no layer's is used */
  constructor(layers: readonly ChunkedLayer[], first?: ChunkedLayer) {
    if (first !== undefined) this.#collect(first);
    this.#firstRows = new Set(this.#rows.values());
    for (const layer of layers) this.#ofLayer.push(this.#collect(layer));
  }

  /** The chunks of a file that has these pieces: they are used from now on. */
  use(layer: number, extents: readonly Extent[]): MergedChunk[] {
    return extents.map((extent) => {
      const chunk = this.#chunkOf(layer, extent);
      chunk.used = true;
      chunk.row.used = true;
      return chunk;
    });
  }

  /** Numbers the blobs that are used, in the order of the layers. */
  number(): BlobEntry[] {
    const used = [...this.#rows.values()].filter((row) => row.used);
    return used.map((row, index) => ({ ...row.entry, index: row.index = index }));
  }

  /** Where the file begins in what comes first, if all of it is there; undefined for any other, and for no chunks. */
  firstOffset(chunks: readonly MergedChunk[]): number | undefined {
    return chunks.every(({ row }) => this.#firstRows.has(row)) ? chunks[0]?.uncompressedOffset : undefined;
  }

  /** Of the chunks that are used. */
  *records(): Generator<Readonly<ChunkRecord>> {
    for (const chunk of this.#byDigest.values()) if (chunk.used) yield chunk;
  }

  #collect({ tree, blobId }: ChunkedLayer): MergedChunk[][] {
    const rows = tree.blobs.map((described) => {
      const id = effectiveBlobId(described, blobId);
      let row = this.#rows.get(id);
      if (row === undefined) {
        const features = (described.features & ~BLOB_FEATURE.inlinedFsMeta) >>> 0;
        this.#rows.set(id, row = { index: 0, used: false, entry: { ...described, id, features } });
      }
      return row;
    });
    const chunks: MergedChunk[][] = rows.map(() => []);
    for (const record of tree.chunkRecords()) {
      const row = rows[record.blobIndex] as Row; // readers refuse a record of another blob
      const key = toByteString(record.digest);
      let chunk = this.#byDigest.get(key);
      if (chunk === undefined) this.#byDigest.set(key, chunk = new MergedChunk(row, record));
      (chunks[record.blobIndex] as MergedChunk[])[record.chunkIndex] = chunk;
    }
    return chunks;
  }

  #chunkOf(layer: number, { blobIndex, chunkIndex, chunkLength }: Extent): MergedChunk {
    const chunk = this.#ofLayer[layer]?.[blobIndex]?.[chunkIndex];
    if (chunk?.uncompressedSize === chunkLength) return chunk;
    throw new NydusGdError(
      "invalid-image",
      `Cannot convert: chunk ${chunkIndex} of layer ${layer} is not in its chunk table with ${chunkLength} bytes`,
    );
  }
}
