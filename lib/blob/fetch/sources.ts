/**
 * The sources of one blob: images may bring the same blob from different backends.
 *
 * Data from all of them are verified, so any source will do. The one that served last is asked first.
 *
 * @module
 */
import type { BlobSource } from "../../backend/blob_source.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import { RangedSource, type RangeOptions } from "./ranged_source.ts";
import type { WholeBlobOptions } from "./whole_blob.ts";

/** Monotonic counters of one blob. */
export interface FetchCounters {
  /** Bytes received from sources, including the chunk table. */
  bytesFetched: number;
  /** Reads of sources, including failed ones. */
  requests: number;
  /** Failed reads, except aborted ones. */
  failedRequests: number;
}

/** Sources of one blob, tried in turn. */
export class BlobSources {
  readonly #sources: RangedSource[] = [];
  readonly #ending = new RunningTasks();
  #keepChunks: (() => Promise<void>) | undefined;
  #preferred = 0;
  readonly counters: FetchCounters = { bytesFetched: 0, requests: 0, failedRequests: 0 };
  #lastFailure: string | undefined;

  /** @param options where blobs are kept whose servers ignore ranges */
  constructor(private readonly options: Omit<WholeBlobOptions, "onBytes">) {}

  add(source: BlobSource): void {
    const ranged = new RangedSource(source, {
      ...this.options,
      onBytes: (bytes) => this.counters.bytesFetched += bytes,
    });
    if (this.#keepChunks !== undefined) ranged.onWhole(this.#keepChunks);
    this.#sources.push(ranged);
  }

  remove(source: BlobSource): void {
    const at = this.#sources.findIndex((ranged) => ranged.source === source);
    const [removed] = at < 0 ? [] : this.#sources.splice(at, 1);
    if (removed === undefined) return;
    this.#preferred = 0;
    this.#ending.add(removed[Symbol.asyncDispose]());
  }

  /** The blob is open: `keepChunks` fetches all of its chunks, which is done while a source has the blob as a whole. */
  onWhole(keepChunks: () => Promise<void>): void {
    this.#keepChunks = keepChunks;
    for (const source of this.#sources) source.onWhole(keepChunks);
  }

  /** Ends transfers of whole blobs. The next read starts them again. */
  async endTransfers(): Promise<void> {
    for (const source of this.#sources) this.#ending.add(source[Symbol.asyncDispose]());
    await this.#ending.settled();
  }

  /** Whether the blob is transferred as a whole, since its servers ignore ranges. */
  get isWhole(): boolean {
    return this.#sources.some(({ isWhole }) => isWhole);
  }

  /** Descriptions of the sources for users. */
  get descriptions(): string[] {
    return [...new Set(this.#sources.map(({ source }) => source.description))];
  }

  /** Error of the last request; undefined if it succeeded or there was none. */
  get lastFailure(): string | undefined {
    return this.#lastFailure;
  }

  /**
   * Reads exactly `length` bytes from `offset`, from the first source that can serve them.
   *
   * @param skip number of sources to skip because their bytes were wrong; a source whose turn comes again is told so
   * @throws {NydusGdError} the error of the first source
   */
  async read(offset: number, length: number, options: RangeOptions, skip = 0): Promise<Uint8Array> {
    const sources = [...this.#sources];
    const corruptResponses = Math.floor(skip / sources.length);
    let first: unknown;
    for (let i = 0; i < sources.length; i++) {
      const source = sources[(this.#preferred + skip + i) % sources.length] as RangedSource;
      try {
        const bytes = await this.#readOne(source, offset, length, { ...options, corruptResponses });
        this.#lastFailure = undefined;
        this.#preferred = Math.max(0, this.#sources.indexOf(source));
        return bytes;
      } catch (error) {
        if (options.signal?.aborted || hasCode(error, "interrupted")) throw error;
        this.#lastFailure = messageOf(error);
        first ??= error;
      }
    }
    throw first ?? new NydusGdError("internal", "Cannot read blob: it has no source");
  }

  async #readOne(
    ranged: RangedSource,
    offset: number,
    length: number,
    options: RangeOptions,
  ): Promise<Uint8Array> {
    this.counters.requests++;
    let bytes: Uint8Array;
    try {
      bytes = await ranged.read(offset, length, options);
    } catch (error) {
      if (!options.signal?.aborted) this.counters.failedRequests++;
      throw error;
    }
    if (bytes.length !== length) {
      this.counters.failedRequests++;
      const state = `received ${bytes.length} of ${length} bytes at ${offset}`;
      throw new NydusGdError("io", `Cannot read ${ranged.source.description}: ${state}`);
    }
    return bytes;
  }
}
