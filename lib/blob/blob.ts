/**
 * One image's hold on a blob of the cache: what a data path opens and reads.
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
import type { BlobSpec, BlobStats, CachedBlob, OpenBlob } from "./cached_blob.ts";
import type { Urgency } from "./fetch/fetch_queue.ts";

export type { BlobSpec, BlobStats, OpenBlob } from "./cached_blob.ts";

/**
 * Milliseconds for which wrong bytes that two openings came upon are believed: the whole chunk table is read for one, of
 * a plain tar everything, and many a reader may come.
 */
const WRONG_BYTES_MS = 10_000;

/** An attempt to open, and who waits for it. */
interface Opening {
  readonly result: Promise<OpenBlob>;
  /** Aborted when the last one who waited has given up. */
  readonly abandon: AbortController;
  waiters: number;
}

/** A blob as one image sees it; the `ChunkStore` of lib/mount. Made by `BlobCache.acquire`. */
export class Blob {
  #opening: Opening | undefined;
  readonly #released = new AbortController();
  #shared: CachedBlob;
  /** What the last opening failed of, where that was wrong bytes; where it was not the first, it is thrown until then. */
  #wrongBytes: { readonly error: NydusGdError; readonly untilMs: number } | undefined;

  /** @param move gives the files of another name, after a conflict about those of `shared`; undefined: there are none */
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

  /** Whether it is open for another image, or has a file in the cache. */
  get mayBeStored(): boolean {
    return this.shared.mayBeStored;
  }

  /**
   * Opens chunk table and cache files, at most once; what failed is tried again by the next call, and where bytes were
   * wrong twice, in a while.
   *
   * @throws {NydusGdError} "invalid-image" when the image contradicts the blob, "io" for the cache, and what the source
   * says when the table has to be fetched
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
      // what failed, or what nobody waits for, must not be given to who comes next
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

  /** Opens the first files that are of the same description. */
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
   * "interrupted", and what the source says
   */
  async ensure(offset: number, length: number, urgency: Urgency, signal?: AbortSignal): Promise<void> {
    await this.open(signal);
    await this.shared.fetcher.ensure(offset, length, urgency, signal, this.spec.onDemand);
  }

  /**
   * Whether all these chunks are verified and on disk, so that the kernel may read the file of the open blob without
   * us. From then on what somebody cuts off it is not put back: reads of it are errors, never zeros.
   *
   * @throws {NydusGdError} "io" when it is cut already
   */
  seal(chunkIndexes: Iterable<number>): boolean {
    return this.shared.readiness.seal(chunkIndexes);
  }

  /**
   * What copies of the open blob's plain data go by that are kept elsewhere and not compared any more: images that
   * contradict each other, at once or one after the other, have different names. 64 hexadecimal digits.
   *
   * @throws {NydusGdError} "io" when it cannot be recorded
   */
  copiesName(): Promise<string> {
    return this.shared.copiesName();
  }

  /** Calls `listener` whenever chunks of the open blob have reached the disk, as long as it is held. */
  onStored(listener: () => void): void {
    this.shared.readiness.onRecorded(listener, this.#released.signal);
  }

  /** A reader has come to a chunk whose bit in `OpenBlob.watched` was set. */
  reached(chunkIndex: number): void {
    this.shared.reached(chunkIndex);
  }

  /** Numbers of the blob, those of other images on it included. */
  stats(): BlobStats {
    return this.shared.stats();
  }

  /** One line for people: `3f2a…: 12 of 40 chunks, 1234567 bytes fetched in 9 requests from registry …`. */
  describe(): string {
    const { id, chunks, chunksReady, bytesFetched, requests, sources } = this.stats();
    return `${id}: ${chunksReady} of ${chunks} chunks, ${bytesFetched} bytes fetched in ${requests} requests from ` +
      sources.join(", ");
  }

  /** Ends the use of the image's spec. False when that was done before. Called by `BlobCache.release`. */
  detach(): boolean {
    if (this.#released.signal.aborted) return false;
    this.#released.abort(new NydusGdError("interrupted", `Cannot open blob ${this.id}: it was released`));
    this.shared.sources.remove(this.spec.source);
    return true;
  }
}
