/**
 * Where a chunk of a file is stored, told before that is known.
 *
 * @module
 */
import type { ChunkPlace } from "../../rafs/v6/writer.ts";

/** A chunk of a file: first it is nowhere, then in a blob, or the same as another one. */
export class StoredPlace implements ChunkPlace {
  #blob: { readonly index: number };
  #chunkIndex = 0;
  #uncompressedOffset = 0;
  #same: StoredPlace | undefined;

  /** @param blob what numbers the row of the blob that it is in, if it is the same as no other */
  constructor(blob: { readonly index: number }) {
    this.#blob = blob;
  }

  get blobIndex(): number {
    return this.#same?.blobIndex ?? this.#blob.index;
  }

  get chunkIndex(): number {
    return this.#same?.chunkIndex ?? this.#chunkIndex;
  }

  get uncompressedOffset(): number {
    return this.#same?.uncompressedOffset ?? this.#uncompressedOffset;
  }

  /** Says that it is another chunk, which is not the same as a third one. */
  becomeSame(other: StoredPlace): void {
    this.#same = other;
  }

  /** Says where in its blob it is. */
  becomeStored(chunkIndex: number, uncompressedOffset: number): void {
    this.#chunkIndex = chunkIndex;
    this.#uncompressedOffset = uncompressedOffset;
  }
}
