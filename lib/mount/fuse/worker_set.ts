/**
 * The Workers of a session as one: they get the same messages and end together.
 *
 * Starting threads takes longer than anything else in a session, and delays the caller. So the first thread starts
 * before there is something to serve, and the others once it serves; until then it answers requests from every
 * descriptor of the session.
 *
 * @module
 */
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import type { FuseConnection } from "./fuse_connection.ts";
import type { ServeCounters } from "./session_options.ts";
import { type EarlyFuseThread, startFuseThread } from "./fuse_thread.ts";
import { type CommonStart, FuseWorkerHandle } from "./worker_handle.ts";
import { COUNTER, type FromWorker, type ToWorker } from "./worker_messages.ts";

const log = logger("mount", "fuse");

/** Delay between starting Workers: what a new mount's first reads need goes first, and one thread is enough for it. */
const NEXT_AFTER_MS = 1000;

/** The session to serve, and the receiver of messages. */
export interface ServedSession {
  readonly connection: FuseConnection;
  readonly common: Omit<CommonStart, "images">;
  /** The messages that bring a Worker that starts now up to date. */
  readonly images: () => CommonStart["images"];
  /** Called with each message of a Worker. */
  readonly onMessage: (worker: FuseWorkerHandle, message: FromWorker) => void;
}

/** One Worker per descriptor of the session. Disposing ends a thread that was never given anything to serve. */
export class FuseWorkerSet implements Disposable {
  /** The first thread, until it serves. */
  #thread: Worker | undefined;
  readonly #workers: FuseWorkerHandle[] = [];
  /** Starts the next Worker. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Starts the first thread, or takes the one that is already starting.
   *
   * @throws {NydusGdError} "environment" if the process is out of descriptors
   */
  constructor(early?: EarlyFuseThread) {
    this.#thread = early?.take() ?? startFuseThread(0);
  }

  /**
   * Starts serving; resolves when requests are answered. With `replay` it waits for all Workers, as each has earlier
   * requests of its own; otherwise the others follow later.
   *
   * @throws {NydusGdError} from the first Worker that failed to start; the caller ends the mount and {@link close}s the
   * others
   */
  async start(session: ServedSession): Promise<void> {
    const atOnce = session.common.replay ? session.connection.parts : 1;
    while (this.#workers.length < atOnce) this.#add(session);
    await Promise.all(this.#workers.map((worker) => worker.ready));
    this.#addLater(session);
  }

  #add({ connection, common, images, onMessage }: ServedSession): void {
    const index = this.#workers.length;
    const thread = this.#thread ?? startFuseThread(index);
    this.#thread = undefined;
    const start = { ...common, images: images() };
    this.#workers.push(new FuseWorkerHandle(thread, connection.partOf(index), start, onMessage));
  }

  #addLater(session: ServedSession): void {
    if (this.#workers.length >= session.connection.parts) return;
    this.#timer = setTimeout(() => {
      try {
        this.#add(session);
        this.#addLater(session);
      } catch (error) {
        log.warn("fewer threads answer the kernel", { threads: this.#workers.length, reason: messageOf(error) });
      }
    }, NEXT_AFTER_MS);
  }

  /** Address of a live struct fuse_session; undefined before the Workers are started. */
  get session(): bigint | undefined {
    return this.#workers[0]?.session;
  }

  /** Number of Workers that serve. */
  get serving(): number {
    return this.#workers.filter(({ session }) => session !== 0n).length;
  }

  /** Posts to every Worker. */
  send(message: ToWorker): void {
    for (const worker of this.#workers) worker.send(message);
  }

  /** Totals of all Workers since their start. */
  counters(): ServeCounters {
    const sum = (cell: number) => this.#workers.reduce((total, worker) => total + (worker.counters[cell] ?? 0), 0);
    return {
      requests: sum(COUNTER.requests),
      reads: sum(COUNTER.reads),
      readBytes: sum(COUNTER.readBytes),
      misses: sum(COUNTER.misses),
    };
  }

  /** See {@link FuseWorkerHandle.stop}. False if one is still at work after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<boolean> {
    clearTimeout(this.#timer);
    return !(await Promise.all(this.#workers.map((worker) => worker.stop(timeoutMs)))).includes(false);
  }

  /** Resolves when no Worker serves any more. */
  async ended(): Promise<void> {
    let seen = 0;
    while (seen < this.#workers.length) {
      seen = this.#workers.length;
      await Promise.all(this.#workers.map((worker) => worker.ended));
    }
    clearTimeout(this.#timer);
  }

  /**
   * Whether all Workers have stopped serving within `timeoutMs`. No further one is started; those starting get to serve
   * first.
   */
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

  /** Ends the threads, which have stopped serving, and their sessions. */
  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  [Symbol.dispose](): void {
    this.#thread?.terminate();
    this.#thread = undefined;
  }
}
