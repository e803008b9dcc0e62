/**
 * The Workers of a session as one: started together, told the same, ended together.
 *
 * Threads take longer to start than anything else of a session, so they begin before there is something to serve.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import type { RequestFile } from "./request_file.ts";
import type { FuseCounters } from "./session_options.ts";
import { type CommonStart, FuseWorkerHandle, startFuseThread } from "./worker_handle.ts";
import { COUNTER, type FromWorker, type ToWorker } from "./worker_messages.ts";

/** One Worker for each descriptor of the session. Disposing ends threads that were never told what to serve. */
export class FuseWorkerSet implements Disposable {
  /** Those that serve nothing yet. */
  readonly #threads: Worker[] = [];
  #workers: readonly FuseWorkerHandle[] = [];

  /**
   * Begins to start threads.
   *
   * @throws {NydusGdError} "environment" when the process is out of descriptors
   */
  constructor(count: number) {
    using begun = new DisposableStack();
    begun.use(this);
    for (let index = 0; index < count; index++) this.#threads.push(startFuseThread(index));
    begun.move();
  }

  /**
   * Has them serve; resolves when all of them do.
   *
   * @param devices one for each thread
   * @param onMessage called with what a Worker posts
   * @throws {NydusGdError} of the first that could not start; the others are {@link close}d by who ends the mount
   */
  async start(
    devices: readonly Fd[],
    requests: RequestFile,
    common: CommonStart,
    onMessage: (worker: FuseWorkerHandle, message: FromWorker) => void,
  ): Promise<void> {
    this.#workers = this.#threads.splice(0).map((thread, index) =>
      new FuseWorkerHandle(thread, devices[index] as Fd, requests.regionAddress(index), common, onMessage)
    );
    await Promise.all(this.#workers.map((worker) => worker.ready));
  }

  /** Address of a struct fuse_session that stands; undefined before they are started. */
  get session(): bigint | undefined {
    return this.#workers[0]?.session;
  }

  /** Posts to every Worker. */
  send(message: ToWorker): void {
    for (const worker of this.#workers) worker.send(message);
  }

  /** What they have served since their start. */
  counters(): FuseCounters {
    const sum = (cell: number) => this.#workers.reduce((total, worker) => total + (worker.counters[cell] ?? 0), 0);
    return {
      requests: sum(COUNTER.requests),
      reads: sum(COUNTER.reads),
      readBytes: sum(COUNTER.readBytes),
      misses: sum(COUNTER.misses),
    };
  }

  /** See {@link FuseWorkerHandle.stop}. False when one is at work after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<boolean> {
    return !(await Promise.all(this.#workers.map((worker) => worker.stop(timeoutMs)))).includes(false);
  }

  /** Resolves when none serves any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.ended));
  }

  /** Whether none serves any more after `timeoutMs` at most. */
  async endWithin(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    try {
      return await Promise.race([this.ended().then(() => true), promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the threads, which serve no more, and their sessions. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  [Symbol.dispose](): void {
    for (const thread of this.#threads.splice(0)) thread.terminate();
  }
}
