/**
 * Writes the compression info of a blob as its chunks are stored one after the other.
 *
 * Chunks get consecutive indexes and consecutive offsets in the blob's address space, aligned to 4096 bytes; files
 * refer to chunks by these. See blob_meta.ts for the layout.
 *
 * @module
 */
import { roundUp, writeU64 } from "../../base/bytes.ts";
import { type BlobMetaLocation, COMPRESSOR, RafsError } from "../bootstrap.ts";
import { CI } from "./blob_layout.ts";
import { CI_HEADER, CI_MAGIC, V2_FLAG } from "./blob_meta.ts";
import { BLOB_FEATURE, LIMIT } from "../format/flags.ts";
import { GrowingBytes } from "../memory/growing.ts";
import { encodeGzipContexts, type GzipContext } from "./gzip_context_writer.ts";

/** A stored chunk. */
export interface StoredChunk {
  /** Plain bytes. */
  readonly size: number;
  /** Where the stored bytes start in the blob. */
  readonly compressedOffset: number;
  /** Stored bytes; equal to `size` when the chunk is stored uncompressed. */
  readonly compressedSize: number;
  /** CRC-32C of the plain bytes, recorded only in V2. */
  readonly crc32?: number;
}

/** A member of a batch. */
export interface BatchMember {
  /** Plain bytes. */
  readonly size: number;
  /** Where the stored bytes of the batch start in the blob. */
  readonly compressedOffset: number;
  /** Where the chunk starts in the plain bytes of the batch. */
  readonly batchOffset: number;
}

/** A chunk in a slice of a gzip layer. */
export interface SliceMember {
  /** Plain bytes. */
  readonly size: number;
  /** About where it is stored in the layer. Ranges of consecutive chunks ascend and do not overlap. */
  readonly compressedOffset: number;
  readonly compressedSize: number;
  /** Number of the context, and where the chunk starts in its plain bytes. */
  readonly context: number;
  readonly contextOffset: number;
}

/** Index and offset assigned to a chunk. */
export interface PlacedChunk {
  /** Index in the blob. */
  readonly index: number;
  /** Offset in the blob's address space. */
  readonly uncompressedOffset: number;
}

const fail = (state: string): never => {
  throw new RafsError(`Cannot write chunk info: ${state}`, "unsupported");
};

/** Collects the chunks of one blob. */
export class ChunkInfoWriter {
  readonly #chunks = new GrowingBytes();
  readonly #batches = new GrowingBytes();
  #gzipContexts: readonly GzipContext[] = [];
  #count = 0;
  #end = 0;

  /** @param version 1: 16 bytes per chunk; 2: 24 bytes, with CRC and batches */
  constructor(readonly version: 1 | 2) {}

  /** Chunks so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the address space so far, a multiple of 4096. */
  get uncompressedSize(): number {
    return this.#end;
  }

  /** Feature bits required by the collected chunks. */
  get features(): number {
    return BLOB_FEATURE.aligned | (this.version === 2 ? BLOB_FEATURE.chunkInfoV2 : 0) |
      (this.#batches.length > 0 ? BLOB_FEATURE.batch : 0) | (this.#gzipContexts.length > 0 ? BLOB_FEATURE.zran : 0);
  }

  /** Adds a chunk that is not part of a batch. */
  add(chunk: StoredChunk): PlacedChunk {
    const { size, compressedOffset, compressedSize, crc32 = 0 } = chunk;
    const compressed = compressedSize !== size;
    if (!(compressedSize > 0 && compressedSize <= size)) fail(`${size} bytes are stored in ${compressedSize}`);
    const flags = (compressed ? V2_FLAG.compressed : 0) | (crc32 === 0 ? 0 : V2_FLAG.hasCrc32);
    return this.version === 1
      ? this.#pushV1(size, compressedOffset, compressedSize)
      : this.#pushV2(size, compressedOffset, compressedSize, flags, crc32, 0);
  }

  /** Adds a chunk to the current batch, which {@link closeBatch} ends. V2 only. */
  addToBatch(member: BatchMember): PlacedChunk {
    if (this.version !== 2) fail("batches need version 2");
    const flags = V2_FLAG.compressed | V2_FLAG.batch;
    const batch = this.#batches.length / CI.CONTEXT_SIZE;
    return this.#pushV2(member.size, member.compressedOffset, 0, flags, member.batchOffset, batch);
  }

  /** Ends the current batch with its stored and plain bytes. */
  closeBatch(compressedSize: number, uncompressedSize: number): void {
    const at = this.#batches.reserve(CI.CONTEXT_SIZE);
    this.#batches.view.setUint32(at, compressedSize, true);
    this.#batches.view.setUint32(at + 4, uncompressedSize, true);
  }

  /** Adds a chunk to a slice of a gzip layer, whose contexts {@link setGzipContexts} adds at the end. V2 only. */
  addToSlice({ size, compressedOffset, compressedSize, context, contextOffset }: SliceMember): PlacedChunk {
    if (this.version !== 2) fail("slices need version 2");
    const flags = V2_FLAG.compressed | V2_FLAG.zran;
    return this.#pushV2(size, compressedOffset, compressedSize, flags, contextOffset, context);
  }

  /** Sets the contexts of a blob that has no batches. */
  setGzipContexts(contexts: readonly GzipContext[]): void {
    this.#gzipContexts = contexts;
  }

  /** Returns the plain CI: chunk infos, then batch or gzip contexts. */
  toBytes(): Uint8Array<ArrayBuffer> {
    const contexts = this.#contexts();
    const bytes = new Uint8Array(this.#chunks.length + contexts.length);
    bytes.set(this.#chunks.bytes);
    bytes.set(contexts, this.#chunks.length);
    return bytes;
  }

  /**
   * Returns the 4096-byte header that follows the CI in the blob.
   *
   * @param meta location and compression of the CI
   * @param features of the blob
   */
  header(meta: BlobMetaLocation, features: number): Uint8Array<ArrayBuffer> {
    const header = new Uint8Array(CI_HEADER.SIZE);
    const view = new DataView(header.buffer);
    view.setUint32(CI_HEADER.magic, CI_MAGIC, true);
    view.setUint32(CI_HEADER.features, features, true);
    view.setUint32(CI_HEADER.compressor, COMPRESSOR[meta.compressor], true);
    view.setUint32(CI_HEADER.entries, this.#count, true);
    writeU64(view, CI_HEADER.offset, meta.offset);
    writeU64(view, CI_HEADER.compressedSize, meta.compressedSize);
    writeU64(view, CI_HEADER.uncompressedSize, meta.uncompressedSize);
    const contextSize = meta.uncompressedSize - this.#chunks.length;
    if (contextSize > 0) {
      writeU64(view, CI_HEADER.contextOffset, this.#chunks.length);
      writeU64(view, CI_HEADER.contextSize, contextSize);
      const count = this.#gzipContexts.length || this.#batches.length / CI.CONTEXT_SIZE;
      view.setUint32(CI_HEADER.contextCount, count, true);
    }
    view.setUint32(CI_HEADER.magic2, CI_MAGIC, true);
    return header;
  }

  #contexts(): Uint8Array {
    return this.#gzipContexts.length > 0 ? encodeGzipContexts(this.#gzipContexts) : this.#batches.bytes;
  }

  #place(size: number, compressedOffset: number): PlacedChunk {
    if (!(size > 0 && size <= LIMIT.chunkSize)) fail(`chunk has ${size} bytes, expected 1 to ${LIMIT.chunkSize}`);
    if (!(compressedOffset >= 0 && compressedOffset < LIMIT.compressedSize)) {
      fail(`chunk is stored at ${compressedOffset}`);
    }
    if (this.#count === LIMIT.chunks || this.#end + size > LIMIT.uncompressedSize) fail("the blob is full");
    const placed = { index: this.#count, uncompressedOffset: this.#end };
    this.#count++;
    this.#end = roundUp(this.#end + size, 4096);
    return placed;
  }

  #pushV1(size: number, compressedOffset: number, compressedSize: number): PlacedChunk {
    const placed = this.#place(size, compressedOffset);
    const at = this.#chunks.reserve(CI.V1_SIZE);
    const { view } = this.#chunks;
    const plain = size - 1, stored = compressedSize - 1;
    const offset = placed.uncompressedOffset;
    const offsetHigh = Math.floor(offset / 0x1_0000_0000), storedHigh = Math.floor(compressedOffset / 0x1_0000_0000);
    view.setUint32(at, (offset % 0x1_0000_0000) + ((plain >>> 20) << 8), true);
    view.setUint32(at + 4, ((plain & 0xf_ffff) << 12) | offsetHigh, true);
    view.setUint32(at + 8, compressedOffset % 0x1_0000_0000, true);
    view.setUint32(at + 12, ((stored & 0xf_ffff) << 12) | ((stored >>> 20) << 8) | storedHigh, true);
    return placed;
  }

  #pushV2(
    size: number,
    compressedOffset: number,
    compressedSize: number,
    flags: number,
    low: number,
    high: number,
  ): PlacedChunk {
    // V2 stores the compressed size in 24 bits without subtracting one, so a full 16 MiB chunk must shrink.
    if (compressedSize > 0xff_ffff) fail(`version 2 cannot store ${compressedSize} bytes in a chunk`);
    const placed = this.#place(size, compressedOffset);
    const at = this.#chunks.reserve(CI.V2_SIZE);
    const { view } = this.#chunks;
    view.setUint32(at, placed.uncompressedOffset / 4096, true);
    view.setUint32(at + 4, (flags << 24) | (size - 1), true);
    view.setUint32(at + 8, compressedOffset % 0x1_0000_0000, true);
    view.setUint32(at + 12, (compressedSize << 8) | Math.floor(compressedOffset / 0x1_0000_0000), true);
    view.setUint32(at + 16, low, true);
    view.setUint32(at + 20, high, true);
    return placed;
  }
}
