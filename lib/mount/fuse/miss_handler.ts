/**
 * The main thread's side of a READ whose data are not in the cache: has them fetched, then answers.
 *
 * @module
 */
import { ERRNO } from "../../../ffi/errno.ts";
import { replyBytes, replyError } from "../../../ffi/libfuse3.ts";
import { NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { emptyAttr, type Extent } from "../../rafs/bootstrap.ts";
import type { OpenBlob } from "../image_mount.ts";
import { coveredLength, readExtents } from "../reads/cached_read.ts";
import type { KnownImage } from "../reads/known_image.ts";
import { blobIndexesOf, storeOf, withFetched } from "../reads/missing_data.ts";
import { FailureLog } from "../reads/read_failures.ts";
import { ReadTasks } from "../reads/read_tasks.ts";
import type { Miss } from "./worker_messages.ts";

/** Answers misses. */
export class MissHandler {
  readonly failures = new FailureLog(logger("mount", "fuse"));
  readonly #ending = new AbortController();
  readonly #tasks: ReadTasks;
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #onBlob: (image: KnownImage, index: number, blob: OpenBlob) => void;

  /**
   * @param maxRead size of the largest READ in bytes
   * @param deadlineMs maximum wait of a program for one read
   * @param onBlob called when a blob has been opened, to pass it to the Workers
   */
  constructor(
    maxRead: number,
    deadlineMs: number,
    onBlob: (image: KnownImage, index: number, blob: OpenBlob) => void,
  ) {
    this.#tasks = new ReadTasks(deadlineMs, this.#ending.signal);
    this.#data = new Uint8Array(maxRead);
    this.#onBlob = onBlob;
  }

  /** Number of READs currently waiting for data. */
  get waiting(): number {
    return this.#tasks.running;
  }

  /** From now on, READs that fail are not answered but left to a successor. */
  abandon(): void {
    this.#tasks.abandon();
  }

  /** Answers every waiting READ with EIO, unless they are abandoned. Resolves when none is left. */
  async fail(): Promise<void> {
    this.#ending.abort(new NydusGdError("interrupted", "Cannot read: the mount ends"));
    await this.#tasks.settled();
  }

  /** Starts to answer `miss`; `done` is called after its reply. */
  handle(known: KnownImage | undefined, miss: Miss, done: () => void): void {
    if (known === undefined) {
      replyError(miss.request, ERRNO.ESTALE);
      return done();
    }
    this.#tasks.start(
      async (signal) => {
        await this.#answer(known, miss, signal);
        done();
      },
      (error) => {
        replyError(miss.request, ERRNO.EIO);
        if (!this.#ending.signal.aborted) this.failures.failed(known, { ino: miss.ino, offset: miss.offset }, error);
        done();
      },
    );
  }

  async #answer(known: KnownImage, miss: Miss, signal: AbortSignal): Promise<void> {
    const extents = this.#extents(known, miss);
    const answer = () => {
      // synchronous from here to the reply: all misses share the buffer
      readExtents(extents, known.blobs, this.#data);
      replyBytes(miss.request, this.#data, extents.reduce((sum, extent) => sum + extent.length, 0));
    };
    await withFetched(known, extents, signal, answer, (index, blob) => this.#onBlob(known, index, blob));
    for (const index of blobIndexesOf(extents)) this.failures.succeeded(known, storeOf(known, index).id);
  }

  #extents({ image }: KnownImage, { ino, offset, size }: Miss): Extent[] {
    const extents = image.tree.extents(ino, offset, size);
    const attr = emptyAttr();
    image.tree.attr(ino, attr);
    const expected = Math.max(0, Math.min(size, attr.size - offset));
    const covered = coveredLength(extents, offset);
    if (covered !== expected || covered > this.#data.length) {
      throw new NydusGdError("invalid-image", `Cannot read inode ${ino} at ${offset}: ${covered} of ${expected} bytes`);
    }
    return extents;
  }
}
