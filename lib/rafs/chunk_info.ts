/**
 * The 80-byte chunk info that follows v5 inodes and makes up the chunk table of v6.
 *
 * Source: dragonflyoss/nydus rafs/src/metadata/layout/v5.rs, RafsV5ChunkInfo.
 *
 * @module
 */
import { readU32, writeU32, writeU64 } from "../base/bytes.ts";
import type { ChunkRecord } from "./bootstrap.ts";
import { readU64, unreadable } from "./guard.ts";

/** Byte offsets. */
export const CHUNK_INFO = {
  SIZE: 80,
  digest: 0,
  blobIndex: 32,
  flags: 36,
  compressedSize: 40,
  uncompressedSize: 44,
  compressedOffset: 48,
  uncompressedOffset: 56,
  fileOffset: 64,
  index: 72,
  crc32: 76,
} as const;

/** Returns a record for {@link readChunkInfo} to fill. */
export function emptyChunkRecord(): ChunkRecord {
  return {
    blobIndex: 0,
    chunkIndex: 0,
    digest: new Uint8Array(0),
    flags: 0,
    compressedOffset: 0,
    compressedSize: 0,
    uncompressedOffset: 0,
    uncompressedSize: 0,
    crc32: 0,
  };
}

/** Limits on the chunks of an image. */
export interface ChunkLimits {
  /** Number of blobs of the image; a larger blob index is damage. */
  readonly blobCount: number;
  /** Maximum bytes of a plain chunk. */
  readonly chunkSize: number;
}

/**
 * Fails on a record that its image cannot contain.
 *
 * @param what name of the record for error messages
 * @throws {RafsError} "invalid-image"
 */
export function checkChunkInfo(record: Readonly<ChunkRecord>, at: number, limits: ChunkLimits, what: string): void {
  const { blobCount, chunkSize } = limits;
  if (record.blobIndex >= blobCount) {
    unreadable(what, at, `blob index is ${record.blobIndex}, the image has ${blobCount} blobs`);
  }
  if (record.uncompressedSize === 0 || record.uncompressedSize > chunkSize) {
    unreadable(what, at, `uncompressed size is ${record.uncompressedSize}, expected 1 to ${chunkSize}`);
  }
}

/** Fills `out` from the chunk info at `at`, whose bounds the caller has checked. Does not validate the values. */
export function readChunkInfo(bytes: Uint8Array, view: DataView, at: number, out: ChunkRecord, what = "chunk"): void {
  out.digest = bytes.subarray(at, at + 32);
  out.blobIndex = readU32(view, at + CHUNK_INFO.blobIndex);
  out.chunkIndex = readU32(view, at + CHUNK_INFO.index);
  out.flags = readU32(view, at + CHUNK_INFO.flags);
  out.compressedSize = readU32(view, at + CHUNK_INFO.compressedSize);
  out.uncompressedSize = readU32(view, at + CHUNK_INFO.uncompressedSize);
  out.compressedOffset = readU64(view, at + CHUNK_INFO.compressedOffset, what);
  out.uncompressedOffset = readU64(view, at + CHUNK_INFO.uncompressedOffset, what);
  out.crc32 = readU32(view, at + CHUNK_INFO.crc32);
}

/** Writes a record. The file offset, which only v5 has, is left unchanged. */
export function writeChunkInfo(bytes: Uint8Array, view: DataView, at: number, record: Readonly<ChunkRecord>): void {
  bytes.set(record.digest, at + CHUNK_INFO.digest);
  writeU32(view, at + CHUNK_INFO.blobIndex, record.blobIndex);
  writeU32(view, at + CHUNK_INFO.flags, record.flags);
  writeU32(view, at + CHUNK_INFO.compressedSize, record.compressedSize);
  writeU32(view, at + CHUNK_INFO.uncompressedSize, record.uncompressedSize);
  writeU64(view, at + CHUNK_INFO.compressedOffset, record.compressedOffset);
  writeU64(view, at + CHUNK_INFO.uncompressedOffset, record.uncompressedOffset);
  writeU32(view, at + CHUNK_INFO.index, record.chunkIndex);
  writeU32(view, at + CHUNK_INFO.crc32, record.crc32);
}
