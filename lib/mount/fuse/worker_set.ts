/**
 * The Workers of a session as one: told the same, ended together.
 *
 * Threads take longer to start than anything else of a session, and whoever starts one waits for it. So the first begins
 * before there is something to serve, and the others when it serves: until then it answers what comes by any descriptor
 * of the session.
 *
 * @module
 */
import type { Fd } from "../../../ffi/fd.ts";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { RequestFile } from "./request_file.ts";
import type { FuseCounters } from "./session_options.ts";
import { type CommonStart, FuseWorkerHandle, startFuseThread } from "./worker_handle.ts";
import { COUNTER, type FromWorker, type ToWorker } from "./worker_messages.ts";

const log = logger("mount", "fuse");

/** How long after one Worker the next is started: what waits for the main thread goes first. */
const NEXT_AFTER_MS = 100;

/** What Workers serve, and who hears of it. */
export interface ServedSession {
  /** One for each Worker. */
  readonly devices: readonly Fd[];
  readonly requests: RequestFile;
  readonly common: Omit<CommonStart, "images">;
  /** What a Worker that is started now has to know. */
  readonly images: () => CommonStart["images"];
  /** Called with what a Worker posts. */
  readonly onMessage: (worker: FuseWorkerHandle, message: FromWorker) => void;
}

/** One Worker for each descriptor of the session. Disposing ends a thread that was never told what to serve. */
export class FuseWorkerSet implements Disposable {
  /** The first, which serves nothing yet. */
  #thread: Worker | undefined;
  readonly #workers: FuseWorkerHandle[] = [];
  /** Until the next Worker is started. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Begins to start a thread.
   *
   * @throws {NydusGdError} "environment" when the process is out of descriptors
   */
  constructor() {
    this.#thread = startFuseThread(0);
  }

  /**
   * Has Workers serve; resolves when requests are answered. With `replay` that takes all of them, as each has requests of
   * its own from before; else the others follow.
   *
   * @throws {NydusGdError} of the first that could not start; the others are {@link close}d by who ends the mount
   */
  async start(session: ServedSession): Promise<void> {
    const atOnce = session.common.replay ? session.devices.length : 1;
    while (this.#workers.length < atOnce) this.#add(session);
    await Promise.all(this.#workers.map((worker) => worker.ready));
    this.#addLater(session);
  }

  #add({ devices, requests, common, images, onMessage }: ServedSession): void {
    const index = this.#workers.length;
    const thread = this.#thread ?? startFuseThread(index);
    this.#thread = undefined;
    const start = { ...common, images: images() };
    const device = devices[index] as Fd;
    this.#workers.push(new FuseWorkerHandle(thread, device, requests.regionAddress(index), start, onMessage));
  }

  #addLater(session: ServedSession): void {
    if (this.#workers.length >= session.devices.length) return;
    this.#timer = setTimeout(() => {
      try {
        this.#add(session);
        this.#addLater(session);
      } catch (error) {
        log.warn("fewer threads answer the kernel", { threads: this.#workers.length, reason: messageOf(error) });
      }
    }, NEXT_AFTER_MS);
  }

  /** Address of a struct fuse_session that stands; undefined before they are started. */
  get session(): bigint | undefined {
    return this.#workers[0]?.session;
  }

  /** How many serve. */
  get serving(): number {
    return this.#workers.filter(({ session }) => session !== 0n).length;
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
    clearTimeout(this.#timer);
    return !(await Promise.all(this.#workers.map((worker) => worker.stop(timeoutMs)))).includes(false);
  }

  /** Resolves when none serves any more. */
  async ended(): Promise<void> {
    let seen = 0;
    while (seen < this.#workers.length) {
      seen = this.#workers.length;
      await Promise.all(this.#workers.map((worker) => worker.ended));
    }
    clearTimeout(this.#timer);
  }

  /** Whether none serves any more after `timeoutMs` at most. No other is started, and those that start come to serve first. */
  async endWithin(timeoutMs: number): Promise<boolean> {
    clearTimeout(this.#timer);
    await Promise.allSettled(this.#workers.map((worker) => worker.ready));
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
    this.#thread?.terminate();
    this.#thread = undefined;
  }
}
