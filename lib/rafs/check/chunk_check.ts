/**
 * Checks what a bootstrap says of chunks: its chunk records among themselves, and the pieces of files against them.
 *
 * What is known of each chunk is kept, 45 bytes a chunk, to be compared with the blob's own table.
 *
 * @module
 */
import { equalBytes } from "../../base/bytes.ts";
import { type BlobDescriptor, type Bootstrap, CHUNK_FLAG, type ChunkRecord, type Extent } from "../bootstrap.ts";
import { DIGEST_SIZE } from "../chunk_table.ts";
import { BLOB_FEATURE, has } from "../flags.ts";
import { GrowingColumn } from "../growing.ts";
import type { Findings } from "./findings.ts";

/** Where a bootstrap places a chunk in the blob's uncompressed address space. */
export interface ChunkClaim {
  readonly chunkIndex: number;
  readonly offset: number;
  readonly size: number;
}

/** Features whose records do not say how a chunk is stored. */
const STORED_ELSEWHERE = BLOB_FEATURE.batch | BLOB_FEATURE.zran | BLOB_FEATURE.separate | BLOB_FEATURE.encrypted;

const NOT_STORED = -1;

/** All that is said of the chunks of one blob. */
class BlobChunks {
  readonly #rows = new Map<number, number>();
  readonly #chunk = GrowingColumn.u32();
  readonly #offset = GrowingColumn.doubles();
  readonly #size = GrowingColumn.u32();
  readonly #storedAt = GrowingColumn.doubles();
  readonly #storedSize = GrowingColumn.u32();
  /** Where the digest is in the bootstrap's memory. */
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

  /** One record of the bootstrap. */
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

  /** One chunk of a file, in the words of the file. Returns what is wrong with it. */
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

  /** A chunk that overlaps another would overwrite it in the cache. */
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
    // of a plain tar the whole has one
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

/** The chunks of an image. */
export class ChunkCheck {
  readonly #blobs: readonly BlobChunks[];

  /** @param blobs of the tree, with the ids that they have at their home */
  constructor(
    private readonly tree: Bootstrap,
    blobs: readonly BlobDescriptor[],
    private readonly findings: Findings,
  ) {
    this.#blobs = blobs.map((blob) => new BlobChunks(blob, findings));
  }

  /** Looks at every chunk record. To be called first. */
  checkRecords(): void {
    this.findings.attempt("structure", "bootstrap", () => {
      for (const record of this.tree.chunkRecords()) this.#blobs[record.blobIndex]?.record(record);
    });
  }

  /** Looks at one chunk of the file `path`. */
  use(path: string, extent: Extent): void {
    const blob = this.#blobs[extent.blobIndex];
    const wrong = blob?.use(extent);
    if (blob === undefined || wrong === undefined) return;
    this.findings.add("structure", path, `chunk ${extent.chunkIndex} of ${blob.where}: ${wrong}`);
  }

  /** To be called last. */
  finish(): void {
    for (const blob of this.#blobs) blob.checkOverlaps();
  }

  /** What is said of a blob's chunks. */
  claimsOf(blobIndex: number): Iterable<ChunkClaim> {
    return this.#blobs[blobIndex]?.claims() ?? [];
  }
}
