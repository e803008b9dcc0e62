/**
 * Chunk indexes of v5 images whose builder stored none: nydus before 1.1 left the field of the index 0, and wrote no
 * extended blob table. Such chunks are numbered here in the order in which files use them; their place in the address
 * space tells them apart.
 *
 * @module
 */
import { readU32 } from "../../base/bytes.ts";
import { CHUNK_INFO } from "../format/chunk_info.ts";
import { readU64 } from "../format/guard.ts";

/** Numbers of the chunks of each blob, from 0. */
export class ChunkNumbers {
  private constructor(private readonly ofBlobs: readonly Map<number, number>[]) {}

  /**
   * Numbers the chunks of all chunk infos. @returns undefined if one of them stores an index
   *
   * @param infos offsets in `view`, of checked chunk infos
   */
  static of(view: DataView, infos: Iterable<number>, what: string): ChunkNumbers | undefined {
    const ofBlobs: Map<number, number>[] = [];
    for (const at of infos) {
      if (readU32(view, at + CHUNK_INFO.index) !== 0) return undefined;
      const numbers = ofBlobs[readU32(view, at + CHUNK_INFO.blobIndex)] ??= new Map();
      const offset = readU64(view, at + CHUNK_INFO.uncompressedOffset, what);
      if (!numbers.has(offset)) numbers.set(offset, numbers.size);
    }
    return new ChunkNumbers(ofBlobs);
  }

  /** @param uncompressedOffset of a chunk whose info was among those of {@link of} */
  numberOf(blobIndex: number, uncompressedOffset: number): number {
    return this.ofBlobs[blobIndex]?.get(uncompressedOffset) ?? 0;
  }
}
