/**
 * One source of a blob, read by ranges. If its server sends whole blobs only, the blob is streamed once and read from
 * where it is kept (whole_blob.ts), until all of its chunks are in the cache.
 *
 * @module
 */
import type { BlobSource, ReadOptions } from "../../backend/blob_source.ts";
import { TransferError } from "../../backend/http/transfer_error.ts";
import { messageOf } from "../../base/errors.ts";
import { Limiter } from "../../base/limiter.ts";
import { logger } from "../../base/log.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import { type StreamedSource, WholeBlob, type WholeBlobOptions } from "./whole_blob.ts";

const log = logger("blob");

/** How long a blob that was transferred as a whole is believed to have the right bytes, although some were wrong. */
const BELIEVED_MS = 5 * 60_000;

/** How a range is read. */
export interface RangeOptions extends ReadOptions {
  /** Called when the read begins to wait for a transfer that it does not cause alone. */
  readonly onWait?: (() => void) | undefined;
}

/** A source of a blob. Disposing ends what it transfers. */
export class RangedSource implements BlobSource, AsyncDisposable {
  #whole: WholeBlob | undefined;
  readonly #background = new RunningTasks();
  /** Fetches all chunks of the blob; undefined before it is open. */
  #keepChunks: (() => Promise<void>) | undefined;

  constructor(readonly source: BlobSource, private readonly options: WholeBlobOptions) {}

  /** For readers that keep nothing in a cache: what has to be transferred as a whole is in `folder` until disposal. */
  static beside(source: BlobSource, folder: string): RangedSource {
    return new RangedSource(source, {
      folder: { path: folder },
      room: (_, write) => write(),
      transfers: new Limiter(1),
      onBytes: () => {},
    });
  }

  get description(): string {
    return this.source.description;
  }

  /** Whether the blob is transferred as a whole. */
  get isWhole(): boolean {
    return this.#whole !== undefined;
  }

  /** Has `keepChunks` called when the blob was transferred as a whole: its chunks need not be fetched again then. */
  onWhole(keepChunks: () => Promise<void>): void {
    this.#keepChunks = keepChunks;
    if (this.#whole !== undefined) this.#keep(this.#whole);
  }

  /**
   * Reads exactly `length` bytes at `offset`.
   *
   * @throws what the source throws
   */
  async read(offset: number, length: number, options: RangeOptions): Promise<Uint8Array> {
    let whole = this.#usable(options.corruptResponses ?? 0);
    if (whole === undefined) {
      try {
        const bytes = await this.source.read(offset, length, options);
        this.options.onBytes(bytes.length);
        return bytes;
      } catch (error) {
        whole = this.#stream(error);
      }
    }
    options.onWait?.();
    return await whole.read(offset, length, options);
  }

  size(signal?: AbortSignal): Promise<number> {
    return this.source.size(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#drop(this.#whole);
    await this.#background.settled();
  }

  /** Returns the present transfer, unless it failed or wrong bytes may be its fault. */
  #usable(corruptResponses: number): WholeBlob | undefined {
    const whole = this.#whole;
    if (whole === undefined) return undefined;
    const isDoubted = corruptResponses > 0 && performance.now() - whole.startedMs > BELIEVED_MS;
    if (!whole.failed && !isDoubted) return whole;
    this.#drop(whole);
    return undefined;
  }

  /** Starts the transfer, unless another read has. @throws `error` if it does not tell that there are no ranges */
  #stream(error: unknown): WholeBlob {
    const { source } = this;
    if (!(error instanceof TransferError) || error.wholeBytes === undefined || !canStream(source)) throw error;
    if (this.#whole !== undefined && !this.#whole.failed) return this.#whole;
    this.#drop(this.#whole);
    log.warn("ranges are ignored, the whole blob is transferred", {
      blob: source.description,
      bytes: error.wholeBytes,
    });
    const whole = this.#whole = new WholeBlob(source, error.wholeBytes, this.options);
    this.#keep(whole);
    return whole;
  }

  /** When all has arrived, and is in the cache as well, the transfer's copy is not needed any more. */
  #keep(whole: WholeBlob): void {
    const kept = async () => {
      await whole.complete;
      if (this.#keepChunks === undefined) return;
      await this.#keepChunks();
      if (this.#whole === whole) this.#drop(whole);
    };
    this.#background.add(
      kept().catch((error) => {
        log.debug("blob not kept as a whole", { blob: this.source.description, error: messageOf(error) });
      }),
    );
  }

  #drop(whole: WholeBlob | undefined): void {
    if (whole === undefined) return;
    if (this.#whole === whole) this.#whole = undefined;
    this.#background.add(whole[Symbol.asyncDispose]());
  }
}

function canStream(source: BlobSource): source is StreamedSource {
  return source.stream !== undefined;
}
