/**
 * The sources of one blob: images may bring the same blob from different backends.
 *
 * Data from all of them are verified, so any source will do. The one that served last is asked first.
 *
 * @module
 */
import type { BlobSource, ReadOptions } from "../../backend/blob_source.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";

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
  readonly #sources: BlobSource[] = [];
  #preferred = 0;
  readonly counters: FetchCounters = { bytesFetched: 0, requests: 0, failedRequests: 0 };
  #lastFailure: string | undefined;

  add(source: BlobSource): void {
    this.#sources.push(source);
  }

  remove(source: BlobSource): void {
    const at = this.#sources.indexOf(source);
    if (at < 0) return;
    this.#sources.splice(at, 1);
    this.#preferred = 0;
  }

  /** Descriptions of the sources for users. */
  get descriptions(): string[] {
    return [...new Set(this.#sources.map((source) => source.description))];
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
  async read(offset: number, length: number, options: ReadOptions, skip = 0): Promise<Uint8Array> {
    const sources = [...this.#sources];
    const corruptResponses = Math.floor(skip / sources.length);
    let first: unknown;
    for (let i = 0; i < sources.length; i++) {
      const source = sources[(this.#preferred + skip + i) % sources.length] as BlobSource;
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
    source: BlobSource,
    offset: number,
    length: number,
    options: ReadOptions,
  ): Promise<Uint8Array> {
    this.counters.requests++;
    let bytes: Uint8Array;
    try {
      bytes = await source.read(offset, length, options);
    } catch (error) {
      if (!options.signal?.aborted) this.counters.failedRequests++;
      throw error;
    }
    this.counters.bytesFetched += bytes.length;
    if (bytes.length !== length) {
      this.counters.failedRequests++;
      const state = `received ${bytes.length} of ${length} bytes at ${offset}`;
      throw new NydusGdError("io", `Cannot read ${source.description}: ${state}`);
    }
    return bytes;
  }
}
