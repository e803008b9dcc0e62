/**
 * Chunk indexes of RAFS v6: the blob and chunk that hold a part of a file.
 *
 * @module
 */
import { readU16, readU32 } from "../../base/bytes.ts";
import { unreadable } from "../format/guard.ts";
import { CHUNK_INDEX } from "./layout.ts";

/** Cursor over chunk indexes. */
export class ChunkIndexCursor {
  blobIndex = 0;
  /** Position of the chunk in its blob, as stored in the image. */
  chunkIndex = 0;
  /** Offset of the chunk in the blob's address space, bytes. */
  offset = 0;

  constructor(
    private readonly view: DataView,
    private readonly blockSize: number,
    private readonly blobCount: number,
  ) {}

  /**
   * Loads index `chunk` of the array at `chunksAt`, which the caller has checked to lie inside the image.
   *
   * @throws {RafsError} when the image has no such blob
   */
  load(chunksAt: number, chunk: number): void {
    const { view, blobCount } = this;
    const at = chunksAt + chunk * CHUNK_INDEX.SIZE;
    const device = readU16(view, at + CHUNK_INDEX.device);
    const blobIndex = (device & 0xff) - 1;
    if (blobIndex < 0 || blobIndex >= blobCount) {
      unreadable("RAFS v6 chunk index", at, `blob is ${blobIndex}, the image has ${blobCount} blobs`);
    }
    this.blobIndex = blobIndex;
    this.chunkIndex = (device >> 8) * 0x1_0000 + readU16(view, at + CHUNK_INDEX.ciLow);
    this.offset = readU32(view, at + CHUNK_INDEX.block) * this.blockSize;
  }
}
