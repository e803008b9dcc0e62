/**
 * The thread of a FUSE Worker before it has anything to serve.
 *
 * @module
 */
import { startWorker, workerUrl } from "../../base/worker.ts";

/**
 * Starts the thread of Worker `index`.
 *
 * @throws {NydusGdError} "environment" if the process is out of descriptors
 */
export function startFuseThread(index: number): Worker {
  return startWorker(workerUrl(import.meta, "fuse_worker.ts"), `fuse-${index}`);
}

/** A thread that starts before its session. Disposing ends it unless a session has taken it. */
export class EarlyFuseThread implements Disposable {
  #thread: Worker | undefined = startFuseThread(0);

  /** Returns the thread, which belongs to the caller from now on; undefined if it was taken before. */
  take(): Worker | undefined {
    const thread = this.#thread;
    this.#thread = undefined;
    return thread;
  }

  [Symbol.dispose](): void {
    this.take()?.terminate();
  }
}
