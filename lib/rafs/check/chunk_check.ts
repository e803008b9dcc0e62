/**
 * Checks what a bootstrap records about chunks: chunk records against each other, and extents of files against the
 * records.
 *
 * Keeps 45 bytes per chunk for the later comparison with the blob's own table.
 *
 * @module
 */
import { equalBytes } from "../../base/bytes.ts";
import { type BlobDescriptor, type Bootstrap, CHUNK_FLAG, type ChunkRecord, type Extent } from "../bootstrap.ts";
import { DIGEST_SIZE } from "../blob/chunk_table.ts";
import { BLOB_FEATURE, has } from "../format/flags.ts";
import { GrowingColumn } from "../memory/growing.ts";
import type { Findings } from "./findings.ts";

/** Range of a chunk in the blob's uncompressed address space, according to the bootstrap. */
export interface ChunkClaim {
  readonly chunkIndex: number;
  readonly offset: number;
  readonly size: number;
}

/** Features whose chunk records do not describe how a chunk is stored. */
const STORED_ELSEWHERE = BLOB_FEATURE.batch | BLOB_FEATURE.zran | BLOB_FEATURE.separate | BLOB_FEATURE.encrypted;

const NOT_STORED = -1;

/** Everything that the bootstrap records about the chunks of one blob. */
class BlobChunks {
  readonly #rows = new Map<number, number>();
  readonly #chunk = GrowingColumn.u32();
  readonly #offset = GrowingColumn.doubles();
  readonly #size = GrowingColumn.u32();
  readonly #storedAt = GrowingColumn.doubles();
  readonly #storedSize = GrowingColumn.u32();
  /** Byte offset of the digest in the bootstrap's buffer. */
  readonly #digestAt = GrowingColumn.doubles();
  readonly where: string;

  constructor(private readonly blob: BlobDescriptor, private readonly findings: Findings) {
    this.where = `blob ${blob.id}`;
  }

  *claims(): Generator<ChunkClaim> {
    for (let row = 0; row < this.#chunk.length; row++) {
      yield { chunkIndex: this.#chunk.at(row), offset: this.#offset.at(row), size: this.#size.at(row) };
    }
  }

  /** Adds a chunk record of the bootstrap. */
  record(record: Readonly<ChunkRecord>): void {
    const { chunkIndex, digest, uncompressedOffset, uncompressedSize, compressedOffset, compressedSize } = record;
    const row = this.#rows.get(chunkIndex);
    if (row === undefined) {
      this.#add(chunkIndex, uncompressedOffset, uncompressedSize, compressedOffset, compressedSize, digest.byteOffset);
      this.#checkRecord(record);
      return;
    }
    const known = new Uint8Array(digest.buffer, this.#digestAt.at(row), DIGEST_SIZE);
    const same = this.#offset.at(row) === uncompressedOffset && this.#size.at(row) === uncompressedSize &&
      this.#storedAt.at(row) === compressedOffset && this.#storedSize.at(row) === compressedSize &&
      equalBytes(known, digest);
    if (!same) this.#wrong(chunkIndex, "two of its records differ");
  }

  /** Checks a file's extent against the chunk. Returns what is wrong with it. */
  use({ chunkIndex, chunkOffset, chunkLength }: Extent): string | undefined {
    const row = this.#rows.get(chunkIndex);
    if (row !== undefined) {
      const offset = this.#offset.at(row), size = this.#size.at(row);
      if (offset === chunkOffset && size === chunkLength) return undefined;
      return `${chunkLength} bytes at ${chunkOffset}, elsewhere ${size} at ${offset}`;
    }
    if (!has(this.blob.features, BLOB_FEATURE.inlinedChunkDigest)) {
      return "the chunk table does not have it";
    }
    this.#add(chunkIndex, chunkOffset, chunkLength, NOT_STORED, 0, NOT_STORED);
    return this.#placeOf(chunkIndex, chunkOffset, chunkLength);
  }

  /** Reports overlapping chunks, which would overwrite each other in the cache. */
  checkOverlaps(): void {
    const order = Uint32Array.from({ length: this.#chunk.length }, (_, row) => row)
      .sort((a, b) => this.#offset.at(a) - this.#offset.at(b));
    let end = 0;
    for (const row of order) {
      const at = this.#offset.at(row);
      if (at < end) this.#wrong(this.#chunk.at(row), `it begins at ${at}, another chunk ends at ${end}`);
      end = Math.max(end, at + this.#size.at(row));
    }
  }

  #add(chunk: number, offset: number, size: number, storedAt: number, storedSize: number, digestAt: number): void {
    this.#rows.set(chunk, this.#chunk.length);
    this.#chunk.push(chunk);
    this.#offset.push(offset);
    this.#size.push(size);
    this.#storedAt.push(storedAt);
    this.#storedSize.push(storedSize);
    this.#digestAt.push(digestAt);
  }

  #checkRecord({ chunkIndex, digest, flags, ...at }: Readonly<ChunkRecord>): void {
    const { blob } = this;
    const { uncompressedOffset, uncompressedSize, compressedOffset, compressedSize } = at;
    // Chunks of a plain tar have no digests; only the whole tar has one.
    const needsDigest = !has(blob.features, BLOB_FEATURE.tarfs);
    if (needsDigest && digest.every((byte) => byte === 0)) this.#wrong(chunkIndex, "it has no digest");
    const place = this.#placeOf(chunkIndex, uncompressedOffset, uncompressedSize);
    if (place !== undefined) this.#wrong(chunkIndex, place);
    if ((blob.features & STORED_ELSEWHERE) !== 0) return;
    if (compressedSize === 0 || (flags & CHUNK_FLAG.compressed) === 0 && compressedSize !== uncompressedSize) {
      this.#wrong(chunkIndex, `its ${uncompressedSize} bytes are stored in ${compressedSize}`);
    }
    if (blob.compressedSize > 0 && compressedOffset + compressedSize > blob.compressedSize) {
      this.#wrong(
        chunkIndex,
        `its stored bytes end at ${compressedOffset + compressedSize}, the blob at ${blob.compressedSize}`,
      );
    }
  }

  #placeOf(chunkIndex: number, offset: number, size: number): string | undefined {
    const { chunkCount, uncompressedSize, meta } = this.blob;
    if ((meta !== undefined || chunkCount > 0) && chunkIndex >= chunkCount) return `the blob has ${chunkCount} chunks`;
    if (uncompressedSize === 0 || offset + size <= uncompressedSize) return undefined;
    return `it ends at ${offset + size}, the blob's address space at ${uncompressedSize}`;
  }

  #wrong(chunkIndex: number, state: string): void {
    this.findings.add("structure", this.where, `chunk ${chunkIndex}: ${state}`);
  }
}

/** Checks the chunks of an image. */
export class ChunkCheck {
  readonly #blobs: readonly BlobChunks[];

  /** @param blobs of the tree, with their ids in the backend */
  constructor(
    private readonly tree: Bootstrap,
    blobs: readonly BlobDescriptor[],
    private readonly findings: Findings,
  ) {
    this.#blobs = blobs.map((blob) => new BlobChunks(blob, findings));
  }

  /** Checks every chunk record. Call first. */
  checkRecords(): void {
    this.findings.attempt("structure", "bootstrap", () => {
      for (const record of this.tree.chunkRecords()) this.#blobs[record.blobIndex]?.record(record);
    });
  }

  /** Checks one extent of the file `path`. */
  use(path: string, extent: Extent): void {
    const blob = this.#blobs[extent.blobIndex];
    const wrong = blob?.use(extent);
    if (blob === undefined || wrong === undefined) return;
    this.findings.add("structure", path, `chunk ${extent.chunkIndex} of ${blob.where}: ${wrong}`);
  }

  /** Checks for overlaps. Call last. */
  finish(): void {
    for (const blob of this.#blobs) blob.checkOverlaps();
  }

  /** Returns what the bootstrap records about a blob's chunks. */
  claimsOf(blobIndex: number): Iterable<ChunkClaim> {
    return this.#blobs[blobIndex]?.claims() ?? [];
  }
}
