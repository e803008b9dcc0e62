/**
 * Chunk records without an object for each: 80 bytes a chunk, as they are in a chunk table.
 *
 * @module
 */
import { readU64 } from "../base/bytes.ts";
import type { ChunkRecord } from "./bootstrap.ts";
import { CHUNK_INFO, emptyChunkRecord, fillChunkRecord, writeChunkInfo } from "./chunk_info.ts";
import { GrowingBytes } from "./growing.ts";

/** Chunk records that can be had again and again: the same in the same order. */
export interface ChunkRecords {
  readonly count: number;
  /** The object may be reused between steps. */
  records(): Iterable<Readonly<ChunkRecord>>;
}

/** See the module. Rows are numbered in the order of addition. */
export class ChunkInfoTable implements ChunkRecords {
  readonly #bytes = new GrowingBytes();

  /** Rows so far. */
  get count(): number {
    return this.#bytes.length / CHUNK_INFO.SIZE;
  }

  /** Adds a copy of the record and returns its row. */
  push(record: Readonly<ChunkRecord>): number {
    const at = this.#bytes.reserve(CHUNK_INFO.SIZE);
    writeChunkInfo(this.#bytes.bytes, this.#bytes.view, at, record);
    return at / CHUNK_INFO.SIZE;
  }

  /** Fills `out` from a row that exists. Its digest is a view, valid until the next row is added. */
  read(row: number, out: ChunkRecord): void {
    fillChunkRecord(this.#bytes.bytes, this.#bytes.view, row * CHUNK_INFO.SIZE, out);
  }

  /** One number of a row that exists. */
  uncompressedOffsetOf(row: number): number {
    return readU64(this.#bytes.view, row * CHUNK_INFO.SIZE + CHUNK_INFO.uncompressedOffset);
  }

  /** All records in order. The object is reused between steps. */
  *records(): Generator<Readonly<ChunkRecord>> {
    const record = emptyChunkRecord();
    for (let row = 0; row < this.count; row++) {
      this.read(row, record);
      yield record;
    }
  }
}
