/**
 * A synthetic v5-style blob: chunks of chosen sizes and compression, with their records.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { blake3 } from "hash-wasm";
import { lz4CompressBlock } from "../../../ffi/liblz4.ts";
import { roundUp } from "../../../lib/base/bytes.ts";
import {
  type BlobDescriptor,
  CHUNK_FLAG,
  type ChunkRecord,
  type Compressor,
  type Digester,
} from "../../../lib/rafs/bootstrap.ts";

/** Options of a blob. */
export interface SyntheticOptions {
  readonly id?: string;
  /** Plain size of each chunk. */
  readonly sizes: readonly number[];
  readonly compressor?: Compressor;
  readonly digester?: Digester;
  /** Unused bytes before each chunk except the first. */
  readonly gap?: number;
  readonly seed?: number;
  /** Rows of chunks of zeros. */
  readonly zeros?: readonly number[];
}

/** A blob and its description in an image. */
export interface SyntheticBlob {
  readonly descriptor: BlobDescriptor;
  /** The stored blob. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly records: readonly ChunkRecord[];
  /** Plain bytes of each chunk. */
  readonly plain: readonly Uint8Array<ArrayBuffer>[];
}

/** Text-like bytes that compress to about half. */
export function plainBytes(size: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = 0x61 + ((state >>> 8) & 0x0f);
  }
  return bytes;
}

function compress(compressor: Compressor, plain: Uint8Array<ArrayBuffer>): Uint8Array {
  switch (compressor) {
    case "none":
      return plain;
    case "lz4_block":
      return lz4CompressBlock(plain);
    case "zstd":
      return zstdCompressSync(plain);
    case "gzip":
      return gzipSync(plain);
  }
}

/** Makes a blob. */
export async function makeSyntheticBlob(options: SyntheticOptions): Promise<SyntheticBlob> {
  const { id = "synthetic", sizes, compressor = "none", digester = "sha256", gap = 0, seed = 1, zeros = [] } = options;
  const plain = sizes.map((size, i) => zeros.includes(i) ? new Uint8Array(size) : plainBytes(size, seed * 1000 + i));
  const records: ChunkRecord[] = [];
  const parts: Uint8Array[] = [];
  let at = 0, uncompressedOffset = 0;
  for (const [chunkIndex, chunk] of plain.entries()) {
    const packed = compress(compressor, chunk);
    const stored = packed.length < chunk.length ? packed : chunk;
    if (chunkIndex > 0 && gap > 0) {
      parts.push(new Uint8Array(gap));
      at += gap;
    }
    const hex = digester === "sha256" ? createHash("sha256").update(chunk).digest("hex") : await blake3(chunk);
    records.push({
      blobIndex: 0,
      chunkIndex,
      digest: Uint8Array.fromHex(hex),
      flags: stored === chunk ? 0 : CHUNK_FLAG.compressed,
      compressedOffset: at,
      compressedSize: stored.length,
      uncompressedOffset,
      uncompressedSize: chunk.length,
      crc32: 0,
    });
    parts.push(stored);
    at += stored.length;
    uncompressedOffset += roundUp(chunk.length, 4096);
  }
  const bytes = new Uint8Array(at);
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.length;
  }
  const descriptor: BlobDescriptor = {
    index: 0,
    id,
    compressor,
    digester,
    chunkSize: 16 * 1024 * 1024,
    chunkCount: sizes.length,
    features: 0,
    compressedSize: at,
    uncompressedSize: uncompressedOffset,
    meta: undefined,
  };
  return { descriptor, bytes, records, plain };
}
