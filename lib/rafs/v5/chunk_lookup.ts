/**
 * Finds the chunk infos of a v5 image by blob and index, 12 bytes each. They stay where they are.
 *
 * @module
 */
import { readU32 } from "../../base/bytes.ts";
import { CHUNK_INFO, type StoredChunkInfo } from "../format/chunk_info.ts";
import type { ChunkInfos } from "../memory/chunk_info_table.ts";
import { GrowingColumn } from "../memory/growing.ts";
import { viewOf } from "../format/guard.ts";
import { DROP_INTERVAL, type ImageMemory } from "../memory/image_memory.ts";
import { IndexColumn } from "../memory/index_column.ts";

/** Lookup of chunk infos. */
export class ChunkLookup {
  /** Rows by blob index, then by chunk index. */
  readonly #rows: IndexColumn[] = [];
  readonly #parts: Uint8Array[] = [];
  /** Position in {@link #parts} and offset there, by row. */
  readonly #part = GrowingColumn.u32();
  readonly #at = GrowingColumn.u32();
  /** View of the last part. */
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** @param memory that holds the chunk infos */
  constructor(sources: readonly ChunkInfos[], memory: ImageMemory) {
    for (const source of sources) for (const info of source.infos()) this.#add(info, memory);
  }

  /** Fills `info`; false if the chunk is unknown. */
  find(blobIndex: number, chunkIndex: number, info: StoredChunkInfo): boolean {
    const row = this.#rows[blobIndex]?.at(chunkIndex);
    if (row === undefined) return false;
    info.bytes = this.#parts[this.#part.at(row)] as Uint8Array;
    info.at = this.#at.at(row);
    info.blobIndex = blobIndex;
    return true;
  }

  #add({ bytes, at, blobIndex }: Readonly<StoredChunkInfo>, memory: ImageMemory): void {
    if (bytes !== this.#parts.at(-1)) {
      this.#parts.push(bytes);
      this.#view = viewOf(bytes);
    }
    this.#part.push(this.#parts.length - 1);
    const row = this.#at.push(at);
    const rows = this.#rows[blobIndex] ??= new IndexColumn();
    rows.set(readU32(this.#view, at + CHUNK_INFO.index), row);
    if (row % DROP_INTERVAL === 0) memory.dropPages();
  }
}
