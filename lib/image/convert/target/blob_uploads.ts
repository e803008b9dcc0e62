/**
 * Stores blobs at the target while further layers are converted, one blob at a time.
 *
 * A slow link takes longer than a conversion. So at most two blobs are in temporary files: one that is stored, and one
 * that is made or waits; and their layers, if these are stored as well.
 *
 * @module
 */

/** Blobs on their way to the target. Disposing cancels what nobody awaits. */
export class BlobUploads implements AsyncDisposable {
  readonly #ended = new AbortController();
  #last: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  /** Aborted like the signal of the constructor, and when a blob could not be stored: then further work is useless. */
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.#ended.signal]);
  }

  /**
   * Starts `store` once the blob before it is stored.
   *
   * @throws the error of a blob before it
   */
  async add(store: () => Promise<void>): Promise<void> {
    await this.#last;
    this.#last = store();
    this.#last.catch((error) => {
      this.#failure ??= { error };
      this.#ended.abort();
    });
  }

  /** Waits until every blob is stored. @throws the error of one that could not be stored */
  async done(): Promise<void> {
    await this.#last;
  }

  /** Waits for other work, which uses {@link signal}. @throws the error of a blob that could not be stored, or its own */
  async during<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.#failure === undefined ? error : this.#failure.error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await Promise.allSettled([this.#last]);
  }
}
