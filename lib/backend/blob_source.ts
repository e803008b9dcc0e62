/**
 * Where the bytes of a blob come from: one verb, `read`.
 *
 * ```
 * Backend.blob(id) ──► BlobSource.read(offset, length)
 * ```
 * A backend is one home (a registry repository, a folder, a bucket); a source is one blob in it. What a source returns
 * is exactly what was asked for or an error: a short, long or shifted answer never leaves this room, except that who
 * asks to see an answer grow sees what has come of one that fails later. Retries, token refresh and connection limits
 * are the source's business; verification of the content is lib/blob's.
 *
 * @module
 */
import type { Priority } from "../base/limiter.ts";

/**
 * Told as an answer comes: the first `filled` bytes of `bytes`, which will be the result, are there. An attempt that is
 * made again begins with other `bytes`. Must not throw.
 */
export type ReadProgress = (bytes: Uint8Array, filled: number) => void;

/** How an answer may be watched while it comes. */
export interface Growth {
  /** Never called by sources that have a range at once. */
  readonly onProgress?: ReadProgress | undefined;
  /**
   * Asked by each attempt that gets the range in pieces: memory of that many bytes, in which the result is to be.
   * Absent: it is memory of its own.
   */
  readonly memory?: ((bytes: number) => Uint8Array) | undefined;
}

/** How a read may be scheduled, watched and ended. */
export interface ReadOptions extends Growth {
  readonly priority: Priority;
  readonly signal?: AbortSignal;
  /** How often bytes of this range came that were not those of the blob: a source with several ways takes another. */
  readonly wrongAnswers?: number;
}

/** One blob at its home. */
export interface BlobSource {
  /** For logs and errors, without credentials: "registry 127.0.0.1:5000/app, blob 3f2a…". */
  readonly description: string;
  /**
   * Exactly `length` bytes from `offset`.
   *
   * @throws {NydusGdError} "not-found", "unauthorized", "unavailable", "io", "interrupted"
   */
  read(offset: number, length: number, options: ReadOptions): Promise<Uint8Array>;
  /** Bytes of the whole blob. Also the check that it exists. */
  size(signal?: AbortSignal): Promise<number>;
}

/** A home of blobs. */
export interface Backend {
  /** For logs and `status`: "registry 127.0.0.1:5000/app". */
  readonly description: string;
  /** The blob named `id` (hexadecimal, without "sha256:"). Nothing is fetched yet. */
  blob(id: string): BlobSource;
}
