/**
 * An open object (file) of the kernel's cache, filled from its source.
 *
 * @module
 */
import { CACHE_BLOCK, completeRead, writeObject } from "../../../ffi/cachefiles.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { roundUp } from "../../base/bytes.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import { FILL_BYTES, type FillBuffers } from "./fill_buffers.ts";
import type { ObjectSource, Stretch } from "./object_source.ts";

/** One open object: its descriptor and its source. */
export class CachedObject {
  readonly #filling = new RunningTasks();
  #isClosed = false;

  /** @param fd owned by the object */
  constructor(private readonly fd: Fd, readonly source: ObjectSource, private readonly buffers: FillBuffers) {}

  /**
   * Writes the requested range, widened as the source suggests.
   *
   * @throws {SyscallError} ENOBUFS, ENOSPC when there is no space; errors of the source when the bytes cannot be read
   */
  async fill(wanted: Stretch, signal: AbortSignal): Promise<void> {
    await this.#filling.add(this.#fill(this.source.widened(wanted, FILL_BYTES), signal));
  }

  async #fill({ offset, length }: Stretch, signal: AbortSignal): Promise<void> {
    const end = Math.min(offset + roundUp(length, CACHE_BLOCK), this.source.sizeBytes);
    for (let at = offset; at < end; at += FILL_BYTES) {
      const count = Math.min(FILL_BYTES, end - at);
      await this.buffers.with(async (buffer) => {
        await this.source.read(at, buffer.bytes.subarray(0, count), signal);
        if (!this.#isClosed) await writeObject(this.fd, buffer, count, at);
      });
    }
  }

  /** Completes a read request; the reader gets EIO if the range was not filled. */
  complete(id: number): void {
    if (!this.fd.closed) completeRead(this.fd, id);
  }

  /** Closes the object after the kernel has closed it. Resolves when the descriptor is closed. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#filling.settled();
    this.fd[Symbol.dispose]();
  }
}
