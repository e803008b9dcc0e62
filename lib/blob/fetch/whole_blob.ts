/**
 * A blob of a server that sends whole blobs only: streamed once into a temporary file, from which ranges are read.
 *
 * ```
 * stream │ arrived ………………… │ ► still coming
 *            ▲ read at once     ▲ waits until it has arrived
 * ```
 * The file has no name, so that it vanishes with the process, and counts as bytes that are about to come into the cache.
 * What it holds is as untrusted as any response: chunks are verified when they are decoded.
 *
 * @module
 */
import { O, open } from "../../../ffi/fcntl.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { preadExact, writeAllOffThread } from "../../../ffi/unistd.ts";
import type { BlobSource, ReadOptions } from "../../backend/blob_source.ts";
import { unlessAborted } from "../../base/abort.ts";
import { unshared } from "../../base/bytes.ts";
import { writeFailure } from "../../base/disk_full.ts";
import { NydusGdError } from "../../base/errors.ts";
import type { Limiter } from "../../base/limiter.ts";
import type { CacheFolder } from "../cache/cache_folder.ts";
import type { WithRoom } from "../cache/cache_space.ts";

/** Where such blobs are kept. */
export interface WholeBlobOptions {
  /** Where the temporary file is. */
  readonly folder: Pick<CacheFolder, "path">;
  /** Runs a write of that many bytes once there is space for them. */
  readonly room: WithRoom;
  /** Limits how many are transferred at a time. */
  readonly transfers: Limiter;
  /** Called with the number of bytes that have arrived. */
  readonly onBytes: (bytes: number) => void;
}

/** A source that can be streamed. */
export type StreamedSource = BlobSource & Required<Pick<BlobSource, "stream">>;

interface Waiter {
  readonly end: number;
  readonly arrived: () => void;
}

/** One transfer of the blob. Disposing ends it and closes the file. */
export class WholeBlob implements AsyncDisposable {
  readonly startedMs = performance.now();
  readonly #file: Fd;
  readonly #ended = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  readonly #waiters = new Set<Waiter>();
  #filled = 0;
  /** Resolves when all has arrived; rejects with what ended the transfer. */
  readonly complete: Promise<void>;
  readonly #settled: Promise<unknown>;

  /**
   * Starts the transfer.
   *
   * @param size of the blob in bytes
   * @throws {NydusGdError} "io" when there can be no file in the folder
   */
  constructor(source: StreamedSource, size: number, private readonly options: WholeBlobOptions) {
    const { folder, room, transfers } = options;
    try {
      this.#file = open(folder.path, O.TMPFILE | O.RDWR, 0o600);
    } catch (error) {
      throw writeFailure(error, `keep ${source.description}`, folder.path);
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.complete = promise;
    promise.catch(() => {}); // readers get the error
    this.#settled = room(size, async () => {
      const { signal } = this.#ended;
      await transfers.run("on-demand", () => this.#fill(source, size, signal), signal).then(resolve, reject);
      await this.#closed.promise; // its bytes are on the disk until then
    });
  }

  /** Whether it can serve nobody any more. */
  failed = false;

  /**
   * Reads a range as soon as it has arrived.
   *
   * @throws what ended the transfer; {NydusGdError} "interrupted", "io"
   */
  async read(
    offset: number,
    length: number,
    { signal, onProgress }: Omit<ReadOptions, "priority">,
  ): Promise<Uint8Array> {
    await unlessAborted(this.#arrived(offset + length), signal);
    const bytes = new Uint8Array(length);
    preadExact(this.#file, bytes, offset);
    onProgress?.(bytes, length);
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.failed = true;
    this.#ended.abort();
    await Promise.allSettled([this.complete]);
    this.#closed.resolve();
    await this.#settled;
    this.#file[Symbol.dispose]();
  }

  async #fill(source: StreamedSource, size: number, signal: AbortSignal): Promise<void> {
    try {
      for await (const piece of source.stream(size, signal)) {
        await this.#append(source, piece);
        this.options.onBytes(piece.length);
      }
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  async #append(source: StreamedSource, piece: Uint8Array): Promise<void> {
    try {
      await writeAllOffThread(this.#file, unshared(piece));
    } catch (error) {
      throw writeFailure(error, `keep ${source.description}`, this.options.folder.path);
    }
    this.#filled += piece.length;
    for (const waiter of this.#waiters) if (waiter.end <= this.#filled) waiter.arrived();
  }

  /** Resolves when the first `end` bytes have arrived. */
  async #arrived(end: number): Promise<void> {
    if (this.#filled >= end) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { end, arrived: resolve };
    this.#waiters.add(waiter);
    try {
      await Promise.race([promise, this.complete]);
    } finally {
      this.#waiters.delete(waiter);
    }
    if (this.#filled < end) throw new NydusGdError("io", `Cannot read blob: it ends at ${this.#filled}, before ${end}`);
  }
}
