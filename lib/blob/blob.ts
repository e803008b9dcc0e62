/**
 * An image's handle on a blob of the cache: what a data path opens and reads.
 *
 * ```ts
 * const blob = cache.acquire({ descriptor, source: backend.blob(descriptor.id), records: () => tree.chunkRecords() });
 * const { dataFd, chunks, ready } = await blob.open();
 * await blob.ensure(0, 4096, "on-demand");   // now pread(dataFd, …, 0) gives verified bytes
 * await cache.release(blob);
 * ```
 *
 * @module
 */
import { throwIfAborted, unlessAborted } from "../base/abort.ts";
import { hasCode, NydusGdError } from "../base/errors.ts";
import { type BlobNames, DescriptionConflict } from "./cache/blob_names.ts";
import type { BlobSpec } from "./blob_spec.ts";
import type { BlobStats, CachedBlob } from "./cached_blob.ts";
import type { Urgency } from "./fetch/fetch_queue.ts";
import type { OpenBlob } from "./opened_blob.ts";

export type { BlobSpec } from "./blob_spec.ts";
export type { BlobStats } from "./cached_blob.ts";
export type { OpenBlob } from "./opened_blob.ts";

/**
 * How long the error of a second opening that found wrong bytes is repeated without another attempt: an attempt reads the
 * whole chunk table, of a plain tar all of it, and there may be many readers.
 */
const WRONG_BYTES_MS = 10_000;

/** An attempt to open, shared by all callers that wait for it. */
interface Opening {
  readonly result: Promise<OpenBlob>;
  /** Aborted when the last waiter has given up. */
  readonly abandon: AbortController;
  waiters: number;
}

/** A blob as one image sees it; implements `ChunkStore` of lib/mount. Created by `BlobCache.acquire`. */
export class Blob {
  #opening: Opening | undefined;
  readonly #released = new AbortController();
  #shared: CachedBlob;
  /** The error of the last opening if it found wrong bytes; thrown again until `untilMs`, which has passed at the first. */
  #wrongBytes: { readonly error: NydusGdError; readonly untilMs: number } | undefined;

  /** @param move returns cache files of another name when those of `shared` conflict; undefined if there are none */
  constructor(
    shared: CachedBlob,
    readonly names: BlobNames,
    private readonly spec: BlobSpec,
    private readonly move: (blob: Blob, conflict: DescriptionConflict) => CachedBlob | undefined,
  ) {
    this.#shared = shared;
    shared.sources.add(spec.source);
  }

  get shared(): CachedBlob {
    return this.#shared;
  }

  get id(): string {
    return this.names.id;
  }

  /** Whether another image has it open, or the cache has a file of it. */
  get mayBeStored(): boolean {
    return this.shared.mayBeStored;
  }

  /**
   * Opens the chunk table and the cache files, at most once. After a failure the next call tries again; after two that
   * found wrong bytes, not before {@link WRONG_BYTES_MS} have passed.
   *
   * @throws {NydusGdError} "invalid-image" when the image contradicts the blob, "io" for the cache, and the source's error
   * when the table has to be fetched
   */
  async open(signal?: AbortSignal): Promise<OpenBlob> {
    throwIfAborted(signal);
    if (this.#released.signal.aborted) {
      throw new NydusGdError("internal", `Cannot open blob ${this.id}: it was released`);
    }
    if (this.#wrongBytes !== undefined && performance.now() < this.#wrongBytes.untilMs) throw this.#wrongBytes.error;
    const opening = this.#opening ??= this.#start();
    opening.waiters++;
    try {
      return await unlessAborted(opening.result, signal);
    } catch (error) {
      // the next caller must get neither a failed attempt nor one that is being abandoned
      if (--opening.waiters === 0) {
        if (this.#opening === opening) this.#opening = undefined;
        opening.abandon.abort();
      }
      throw error;
    }
  }

  #start(): Opening {
    const abandon = new AbortController();
    const result = this.#openShared(AbortSignal.any([this.#released.signal, abandon.signal]));
    result.catch((error) => this.#noteFailure(error));
    return { result, abandon, waiters: 0 };
  }

  #noteFailure(error: unknown): void {
    const believedMs = this.#wrongBytes === undefined ? 0 : WRONG_BYTES_MS;
    const isWrong = hasCode(error, "corrupt", "invalid-image");
    this.#wrongBytes = isWrong ? { error, untilMs: performance.now() + believedMs } : undefined;
  }

  /** Opens the first cache files whose description of the blob is the image's. */
  async #openShared(signal: AbortSignal): Promise<OpenBlob> {
    for (;;) {
      try {
        return await this.#shared.open(this.spec, this.names, signal);
      } catch (error) {
        if (!(error instanceof DescriptionConflict)) throw error;
        throwIfAborted(signal);
        const other = this.move(this, error);
        if (other === undefined) throw error;
        this.#shared.sources.remove(this.spec.source);
        this.#shared = other;
        other.sources.add(this.spec.source);
      }
    }
  }

  /**
   * Resolves when every chunk that overlaps `[offset, offset + length)` is verified and in the cache file.
   *
   * @param offset bytes in the uncompressed address space
   * @throws {NydusGdError} "corrupt" (wrong bytes, twice), "invalid-image" (no digest), "io" (the cache's disk),
   * "interrupted", and the source's error
   */
  async ensure(offset: number, length: number, urgency: Urgency, signal?: AbortSignal): Promise<void> {
    await this.open(signal);
    await this.shared.fetcher.ensure(offset, length, urgency, signal, this.spec.onDemand);
    if (urgency === "on-demand") await unlessAborted(this.shared.readiness.makeReadable(), signal);
  }

  /**
   * Has reads of a file fetch no neighbours outside of the file, for as long as the blob is open: whoever calls it has
   * what the reader of this file reads next fetched. Offset and length are bytes in the uncompressed address space.
   *
   * @throws {NydusGdError} as {@link open}
   */
  async confineNeighbours(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    await this.open(signal);
    this.shared.fetcher.confineNeighbours(offset, length);
  }

  /**
   * Whether all these chunks are verified and on disk, so that the kernel may read the open blob's file without us. From
   * then on a file that somebody truncates is not extended again: reads past its end fail and never give zeros.
   *
   * @throws {NydusGdError} "io" when it has been truncated already
   */
  seal(chunkIndexes: Iterable<number>): boolean {
    return this.shared.readiness.seal(chunkIndexes);
  }

  /**
   * The name for copies of the open blob's plain data that are kept elsewhere and never verified again. Images that
   * contradict each other, now or years later, get different names. 64 hexadecimal digits.
   *
   * @throws {NydusGdError} "io" when it cannot be recorded
   */
  copiesName(): Promise<string> {
    return this.shared.copiesName();
  }

  /** Calls `listener` whenever chunks of the open blob have reached the disk, until this handle is released. */
  onStored(listener: () => void): void {
    this.shared.readiness.onRecorded(listener, this.#released.signal);
  }

  /** To be called when a reader reaches a chunk whose bit in `OpenBlob.watched` was set. */
  reached(chunkIndex: number): void {
    this.shared.reached(chunkIndex);
  }

  /** The blob's counters, which include the reads of other images. */
  stats(): BlobStats {
    return this.shared.stats();
  }

  /** Ends the image's use of the blob. False when it had ended before. Called by `BlobCache.release`. */
  detach(): boolean {
    if (this.#released.signal.aborted) return false;
    this.#released.abort(new NydusGdError("interrupted", `Cannot open blob ${this.id}: it was released`));
    this.shared.sources.remove(this.spec.source);
    return true;
  }
}
