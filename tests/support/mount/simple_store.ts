/**
 * The simplest ChunkStore, for tests of data paths: one file of plain data, and a bit for each chunk in it. Shares no
 * code with lib/blob but the form of what readers are told.
 *
 * @module
 */
import { pwriteAll } from "../../../ffi/unistd.ts";
import type { ChunkStore, OpenBlob } from "../../../lib/mount/image_mount.ts";
import type { Priority } from "../../../lib/base/limiter.ts";
import { newSyncState } from "../../../lib/blob/cache/lost_writes.ts";

/** What readers are told of a file with `count` chunks on a disk that loses nothing, and of which no chunk is watched. */
export function lossless(count: number): Pick<OpenBlob, "synced" | "watched"> {
  const synced = newSyncState(count);
  synced.recorded.fill(0xff);
  return { synced, watched: new Uint8Array(new SharedArrayBuffer(synced.recorded.length)) };
}

/** A store; what derives from it knows where chunks come from. */
export abstract class SimpleStore implements ChunkStore {
  abstract readonly id: string;
  /** Chunks in the order of their fetches. */
  readonly fetched: number[] = [];
  readonly #listeners: (() => void)[] = [];

  abstract open(): Promise<OpenBlob>;

  abstract ensure(offset: number, length: number, priority: Priority, signal?: AbortSignal): Promise<void>;

  /** The blob once it is open. */
  protected abstract get opened(): OpenBlob | undefined;

  seal(chunkIndexes: Iterable<number>): boolean {
    const { opened } = this;
    return opened !== undefined && [...chunkIndexes].every((index) => isReady(opened, index));
  }

  copiesName(): Promise<string> {
    return Promise.resolve(this.id);
  }

  onStored(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Stores a chunk that was fetched. */
  protected put(blob: OpenBlob, index: number, data: Uint8Array): void {
    pwriteAll(blob.dataFd, data, blob.chunks.uncompressedOffset[index] as number);
    this.fetched.push(index);
    Atomics.or(blob.ready, index >> 3, 0x80 >> (index & 7));
    for (const listener of this.#listeners) listener();
  }
}

/** The chunks that overlap `[offset, offset + length)` and are not in the store. */
export function* missingChunks(blob: OpenBlob, offset: number, length: number): Generator<number> {
  const { count, uncompressedOffset, uncompressedSize } = blob.chunks;
  for (let i = 0; i < count; i++) {
    const start = uncompressedOffset[i] as number;
    if (start + (uncompressedSize[i] as number) <= offset || start >= offset + length) continue;
    if (!isReady(blob, i)) yield i;
  }
}

function isReady({ ready }: OpenBlob, index: number): boolean {
  return ((ready[index >> 3] as number) & (0x80 >> (index & 7))) !== 0;
}
