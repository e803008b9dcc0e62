/**
 * Compact table of chunks: 80 bytes per chunk, as in an on-disk chunk table, instead of an object each.
 *
 * @module
 */
import { readU32, readU64 } from "../../base/bytes.ts";
import type { ChunkRecord } from "../bootstrap.ts";
import { CHUNK_INFO, type StoredChunkInfo, writeChunkInfo } from "../format/chunk_info.ts";
import { DROP_INTERVAL, ORDINARY_MEMORY } from "./image_memory.ts";

/** Chunk infos that can be iterated repeatedly, always in the same order. */
export interface ChunkInfos {
  readonly count: number;
  /** The object may be reused between steps. */
  infos(): Iterable<Readonly<StoredChunkInfo>>;
}

/** Rows per block of memory. */
const BLOCK_ROWS = 1 << 14;

interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
}

/** Append-only table of chunk records. Rows are numbered in the order of addition. */
export class ChunkInfoTable implements ChunkInfos {
  #blocks: Block[] = [];
  #count = 0;

  constructor(private readonly memory = ORDINARY_MEMORY) {}

  /** Rows so far. */
  get count(): number {
    return this.#count;
  }

  /** Adds a copy of the record and returns its row. */
  push(record: Readonly<ChunkRecord>): number {
    const row = this.#count++;
    if (row % BLOCK_ROWS === 0) this.#grow();
    if (row % DROP_INTERVAL === 0) this.memory.dropPages();
    const { bytes, view } = this.#blockOf(row);
    writeChunkInfo(bytes, view, placeOf(row), record);
    return row;
  }

  /** Uncompressed offset of an existing row. */
  uncompressedOffsetOf(row: number): number {
    return readU64(this.#blockOf(row).view, placeOf(row) + CHUNK_INFO.uncompressedOffset);
  }

  /** All rows in order. The object is reused between steps. */
  *infos(): Generator<Readonly<StoredChunkInfo>> {
    const info: StoredChunkInfo = { bytes: new Uint8Array(0), at: 0, blobIndex: 0 };
    for (let row = 0; row < this.count; row++) {
      const { bytes, view } = this.#blockOf(row);
      info.bytes = bytes;
      info.at = placeOf(row);
      info.blobIndex = readU32(view, info.at + CHUNK_INFO.blobIndex);
      yield info;
    }
  }

  #blockOf(row: number): Block {
    return this.#blocks[Math.floor(row / BLOCK_ROWS)] as Block;
  }

  #grow(): void {
    const bytes = this.memory.allocate(BLOCK_ROWS * CHUNK_INFO.SIZE);
    this.#blocks.push({ bytes, view: new DataView(bytes.buffer) });
  }
}

/** Byte offset of a row in its block. */
function placeOf(row: number): number {
  return row % BLOCK_ROWS * CHUNK_INFO.SIZE;
}
