/**
 * The 80-byte chunk info that follows v5 inodes and makes up the chunk table of v6.
 *
 * Source: dragonflyoss/nydus rafs/src/metadata/layout/v5.rs, RafsV5ChunkInfo.
 *
 * @module
 */
import { readU32, writeU32, writeU64 } from "../../base/bytes.ts";
import type { ChunkRecord } from "../bootstrap.ts";
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

/** A chunk info somewhere in memory. */
export interface StoredChunkInfo {
  bytes: Uint8Array;
  /** Offset of the chunk info in the bytes. */
  at: number;
  /** Index of the blob in the image to write, in place of the stored one. */
  blobIndex: number;
}

/** Limits on the chunks of an image. */
export interface ChunkLimits {
  /** Number of blobs of the image; a larger blob index is damage. */
  readonly blobCount: number;
  /** Maximum bytes of a plain chunk. */
  readonly chunkSize: number;
}

/**
 * Fails on a chunk info that its image cannot contain.
 *
 * @param what name of the chunk info for error messages
 * @throws {RafsError} "invalid-image"
 */
export function checkChunkInfo(view: DataView, at: number, { blobCount, chunkSize }: ChunkLimits, what: string): void {
  const blobIndex = readU32(view, at + CHUNK_INFO.blobIndex);
  if (blobIndex >= blobCount) unreadable(what, at, `blob index is ${blobIndex}, the image has ${blobCount} blobs`);
  const size = readU32(view, at + CHUNK_INFO.uncompressedSize);
  if (size === 0 || size > chunkSize) {
    unreadable(what, at, `uncompressed size is ${size}, expected 1 to ${chunkSize}`);
  }
  readU64(view, at + CHUNK_INFO.compressedOffset, what);
  readU64(view, at + CHUNK_INFO.uncompressedOffset, what);
}

/** Fills `out` from the chunk info at `at`, which the caller has checked. */
export function readChunkInfo(bytes: Uint8Array, view: DataView, at: number, out: ChunkRecord, what: string): void {
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

/** Copies a chunk info to `[at, at + 80)` of the image. Its file offset is `fileOffset`, which is 0 in v6. */
export function copyChunkInfo(
  { bytes, at: start, blobIndex }: Readonly<StoredChunkInfo>,
  image: Uint8Array,
  view: DataView,
  at: number,
  fileOffset = 0,
): void {
  image.set(bytes.subarray(start, start + CHUNK_INFO.SIZE), at);
  writeU32(view, at + CHUNK_INFO.blobIndex, blobIndex);
  writeU64(view, at + CHUNK_INFO.fileOffset, fileOffset);
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
