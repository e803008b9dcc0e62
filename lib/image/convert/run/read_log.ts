/**
 * Records which chunks of a mounted image are read, in order of first access, whether cached or not.
 *
 * @module
 */
import { fillBits } from "../../../blob/cache/bits.ts";
import type { Blob } from "../../../blob/blob.ts";
import { PlaceIndex } from "../../../blob/tables/chunk_index.ts";
import type { ChunkStore } from "../../../mount/image_mount.ts";

/** A chunk of an image. */
export interface ReadChunk {
  /** Position of its blob in the image. */
  readonly blobIndex: number;
  /** Its row in the blob's chunk table. */
  readonly row: number;
}

/** Log of the chunks read. */
export class ReadLog {
  /** In order of first access. */
  readonly chunks: ReadChunk[] = [];
  readonly #seen = new Set<string>();
  readonly #listeners = new Set<() => void>();

  /** Wraps the blobs of an image; the result is mounted in their place. */
  storesOf(blobs: readonly Blob[]): ChunkStore[] {
    return blobs.map((blob, blobIndex) => this.#storeOf(blob, blobIndex));
  }

  /** Resolves when nothing new has been read for `quietMs`. */
  async whenSettled(quietMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let timer = setTimeout(resolve, quietMs);
    const onRead = () => {
      clearTimeout(timer);
      timer = setTimeout(resolve, quietMs);
    };
    this.#listeners.add(onRead);
    signal.addEventListener("abort", () => resolve(), { once: true });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(onRead);
    }
  }

  #storeOf(blob: Blob, blobIndex: number): ChunkStore {
    let index: PlaceIndex | undefined;
    const note = (row: number) => this.#note(blobIndex, row);
    return {
      id: blob.id,
      async open(signal) {
        const opened = await blob.open(signal);
        if (index === undefined) {
          fillBits(opened.watched, opened.chunks.count);
          index = new PlaceIndex(opened.chunks);
        }
        return opened;
      },
      async ensure(offset, length, priority, signal) {
        index?.rowsIn(offset, length).forEach(note);
        await blob.ensure(offset, length, priority, signal);
      },
      seal: (chunkIndexes) => blob.seal(chunkIndexes),
      copiesName: () => blob.copiesName(),
      onStored: (listener) => blob.onStored(listener),
      reached: note,
    };
  }

  #note(blobIndex: number, row: number): void {
    const key = `${blobIndex}:${row}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.chunks.push({ blobIndex, row });
    for (const listener of this.#listeners) listener();
  }
}
