/**
 * Chunks of a TARFS image, whose data are plain tars: pieces at multiples of 512 bytes.
 *
 * The image has only a chunk index per piece, without compression info or digests. Chunks are numbered by their offset
 * in the tar, regardless of the stored index, so that a piece shared by two files is one chunk.
 *
 * Source: dragonflyoss/nydus builder/src/tarfs.rs.
 *
 * @module
 */
import type { ChunkRecord, Extent } from "../bootstrap.ts";
import { emptyChunkRecord } from "../format/chunk_info.ts";
import { DIGEST_SIZE } from "../blob/chunk_table.ts";
import { unreadable } from "../format/guard.ts";

const WHAT = "TARFS chunk";

/** Chunks of one blob. */
interface Pieces {
  /** Size in bytes by offset. */
  readonly sizes: Map<number, number>;
  /** Chunk number by offset. */
  readonly numbers: Map<number, number>;
}

/** All chunks of an image. */
export class TarChunks {
  readonly #blobs: readonly Pieces[];

  /**
   * @param extents of every file of the image
   * @throws {RafsError} when two pieces at the same offset have different sizes
   */
  constructor(blobCount: number, extents: Iterable<Extent>) {
    this.#blobs = Array.from({ length: blobCount }, () => ({ sizes: new Map(), numbers: new Map() }));
    for (const { blobIndex, chunkOffset, chunkLength } of extents) {
      const { sizes } = this.#blobs[blobIndex] as Pieces;
      const known = sizes.get(chunkOffset);
      if (known !== undefined && known !== chunkLength) {
        unreadable(WHAT, chunkOffset, `it has ${chunkLength} bytes in one file and ${known} in another`);
      }
      sizes.set(chunkOffset, chunkLength);
    }
    for (const { sizes, numbers } of this.#blobs) {
      [...sizes.keys()].sort((a, b) => a - b).forEach((offset, number) => numbers.set(offset, number));
    }
  }

  /** Number of the chunk at the given offset. */
  indexOf(blobIndex: number, offset: number): number {
    return this.#blobs[blobIndex]?.numbers.get(offset) ?? unreadable(WHAT, offset, "no file has it");
  }

  /** Records for {@link Bootstrap.chunkRecords}; none has a digest. */
  *records(): Generator<Readonly<ChunkRecord>> {
    const record = { ...emptyChunkRecord(), digest: new Uint8Array(DIGEST_SIZE) };
    for (const [blobIndex, { sizes, numbers }] of this.#blobs.entries()) {
      for (const [offset, chunkIndex] of numbers) {
        const size = sizes.get(offset) as number;
        record.blobIndex = blobIndex;
        record.chunkIndex = chunkIndex;
        record.compressedOffset = record.uncompressedOffset = offset;
        record.compressedSize = record.uncompressedSize = size;
        yield record;
      }
    }
  }
}
