/**
 * The homes of one blob: several images may bring the same blob from different places.
 *
 * What comes from any of them is verified, so any will do. The one that served last is asked first.
 *
 * @module
 */
import type { BlobSource, ReadOptions } from "../../backend/blob_source.ts";
import { hasCode, messageOf, NydusGdError } from "../../base/errors.ts";

/** Counters of one blob; all only grow. */
export interface FetchCounters {
  /** Bytes that came from sources, chunk table included. */
  bytesFetched: number;
  /** Reads of sources, failed ones included. */
  requests: number;
  /** Reads that failed, other than by being stopped. */
  failedRequests: number;
}

/** Sources of one blob, asked in turn. */
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

  /** Where the blob is, for people. */
  get descriptions(): string[] {
    return [...new Set(this.#sources.map((source) => source.description))];
  }

  /** What the last request failed of; undefined when it succeeded, or there was none. */
  get lastFailure(): string | undefined {
    return this.#lastFailure;
  }

  /**
   * Exactly `length` bytes from `offset`, of the first source that has them.
   *
   * @param skip sources to pass over first, as their bytes were wrong; one that has its turn again is told
   * @throws {NydusGdError} what the first source said
   */
  async read(offset: number, length: number, options: ReadOptions, skip = 0): Promise<Uint8Array> {
    const sources = [...this.#sources];
    const wrongAnswers = Math.floor(skip / sources.length);
    let first: unknown;
    for (let i = 0; i < sources.length; i++) {
      const source = sources[(this.#preferred + skip + i) % sources.length] as BlobSource;
      try {
        const bytes = await this.#readOne(source, offset, length, { ...options, wrongAnswers });
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
      const state = `${bytes.length} of ${length} bytes at ${offset} came`;
      throw new NydusGdError("io", `Cannot read ${source.description}: ${state}`);
    }
    return bytes;
  }
}
