/**
 * Interfaces of backends and of the blobs in them.
 *
 * ```
 * Backend.blob(id) ──► BlobSource.read(offset, length)
 * ```
 * A backend is one place that stores blobs (a registry repository, a folder, a bucket); a source is one blob in it. A
 * read returns exactly the requested bytes or fails: a short, long or shifted response never leaves lib/backend. The
 * exception is `onProgress`, which also sees the bytes of a response that fails later. A source handles retries, token
 * refresh and connection limits; lib/blob verifies the content.
 *
 * @module
 */
import type { Priority } from "../base/limiter.ts";

/**
 * Called while a response arrives: the first `filled` bytes of `bytes`, the future result, are valid. A retry starts
 * over with a different `bytes`. Must not throw.
 */
export type ReadProgress = (bytes: Uint8Array, filled: number) => void;

/** How to observe a response while it arrives. */
export interface Growth {
  /** Never called by sources that return the range all at once. */
  readonly onProgress?: ReadProgress | undefined;
  /**
   * Allocates that many bytes for the result. Called once per attempt by sources that receive the range in pieces.
   * Undefined: the source allocates.
   */
  readonly memory?: ((bytes: number) => Uint8Array) | undefined;
}

/** Scheduling, observation and cancellation of a read. */
export interface ReadOptions extends Growth {
  readonly priority: Priority;
  readonly signal?: AbortSignal;
  /**
   * How often this range has arrived with wrong content. A source with several hosts or routes then tries another one.
   */
  readonly corruptResponses?: number;
}

/** One blob in a backend. */
export interface BlobSource {
  /** For logs and errors, without credentials: "registry 127.0.0.1:5000/app, blob 3f2a…". */
  readonly description: string;
  /**
   * Reads exactly `length` bytes at `offset`.
   *
   * @throws {NydusGdError} "not-found", "unauthorized", "unavailable", "io", "interrupted"
   */
  read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array>;
  /**
   * Yields all bytes of a blob of `size` bytes, which the caller verifies. Undefined if reads are as good: there is no
   * server that counts requests or ignores ranges, and no cache on the way that only whole blobs fill.
   *
   * @throws {NydusGdError} as for {@link read}
   */
  stream?(size: number, signal: AbortSignal): AsyncGenerator<Uint8Array>;
  /** Returns the size of the blob in bytes. Also serves as the check that it exists. */
  size(signal?: AbortSignal): Promise<number>;
}

/** A place that stores blobs. */
export interface Backend {
  /** For logs and `status`: "registry 127.0.0.1:5000/app". */
  readonly description: string;
  /** Returns the blob named `id` (hexadecimal, without "sha256:"). Does no I/O. */
  blob(id: string): BlobSource;
}
