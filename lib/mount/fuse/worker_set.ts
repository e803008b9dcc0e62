/**
 * The Workers of a session as one: they get the same messages and end together.
 *
 * One that fails is replaced by another on the same part of the connection.
 *
 * Starting threads takes longer than anything else in a session, and delays the caller. So the first thread starts
 * before there is something to serve, and the others once it serves; until then it answers requests from every
 * descriptor of the session.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { RunningTasks } from "../../base/running_tasks.ts";
import type { FuseConnection } from "./fuse_connection.ts";
import type { ServeCounters } from "./session_options.ts";
import { type EarlyFuseThread, startFuseThread } from "./fuse_thread.ts";
import { type CommonStart, FuseWorkerHandle } from "./worker_handle.ts";
import { COUNTER, type FromWorker, type Replay, type ToWorker } from "./worker_messages.ts";

const log = logger("mount", "fuse");

/** Delay between starting Workers: what a new mount's first reads need goes first, and one thread is enough for it. */
const NEXT_AFTER_MS = 1000;

/** Age of a Worker at which it is replaced: one that fails at once would keep the processor busy. */
const REPLACED_AFTER_MS = 1000;

/** The session to serve, and the receiver of messages. */
export interface ServedSession {
  readonly connection: FuseConnection;
  readonly common: Omit<CommonStart, "images" | "replay">;
  /** What Workers have to do first. */
  readonly replay: Replay;
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
  /** Those that failed: what they had handed over is answered through their sessions. */
  readonly #failed: FuseWorkerHandle[] = [];
  readonly #replacing = new RunningTasks();
  #failures = 0;
  /** Whether one that fails is replaced. */
  #mayReplace = false;
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
   * Starts serving; resolves when requests are answered. If there is anything to replay it waits for all Workers, as
   * each has earlier requests of its own; otherwise the others follow later.
   *
   * @throws {NydusGdError} from the first Worker that failed to start; the caller ends the mount and {@link close}s the
   * others
   */
  async start(session: ServedSession): Promise<void> {
    const atOnce = session.replay.parked ? session.connection.parts : 1;
    while (this.#workers.length < atOnce) this.#add(session);
    await Promise.all(this.#workers.map((worker) => worker.ready));
    this.#mayReplace = true;
    this.#addLater(session);
  }

  #add(session: ServedSession): void {
    this.#workers.push(this.#begin(session, this.#workers.length, session.replay));
  }

  #begin(session: ServedSession, index: number, replay: Replay): FuseWorkerHandle {
    const { connection, common, images, onMessage } = session;
    const thread = this.#thread ?? startFuseThread(index);
    this.#thread = undefined;
    const start = { ...common, replay, images: images() };
    return new FuseWorkerHandle(thread, connection.partOf(index), start, (worker, message) => {
      onMessage(worker, message);
      const hasFailed = message.kind === "ended" && message.message !== undefined;
      if (hasFailed && this.#mayReplace) this.#replacing.add(this.#replace(session, index, worker));
    });
  }

  /** Never rejects. */
  async #replace(session: ServedSession, index: number, failed: FuseWorkerHandle): Promise<void> {
    this.#failures++;
    for (let pauseMs = REPLACED_AFTER_MS - failed.ageMs;; pauseMs = REPLACED_AFTER_MS) {
      if (pauseMs > 0) await delay(pauseMs);
      if (!this.#mayReplace) return;
      try {
        this.#workers[index] = this.#begin(session, index, failed.leftOver);
        if (failed.session === 0n) await failed.close();
        else this.#failed.push(failed);
        return;
      } catch (error) {
        log.error("fewer threads answer the kernel", { reason: messageOf(error) });
      }
    }
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
    return [...this.#workers, ...this.#failed].find(({ session }) => session !== 0n)?.session;
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
    const all = [...this.#workers, ...this.#failed];
    const sum = (cell: number) => all.reduce((total, worker) => total + (worker.counters[cell] ?? 0), 0);
    return {
      requests: sum(COUNTER.requests),
      reads: sum(COUNTER.reads),
      readBytes: sum(COUNTER.readBytes),
      misses: sum(COUNTER.misses),
      threadFailures: this.#failures,
    };
  }

  /** See {@link FuseWorkerHandle.stop}. False if one is still at work after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<boolean> {
    this.#startNoMore();
    return !(await Promise.all(this.#workers.map((worker) => worker.stop(timeoutMs)))).includes(false);
  }

  /** Resolves when no Worker serves any more. */
  async ended(): Promise<void> {
    for (let seen: FuseWorkerHandle[] = []; this.#workers.some((worker) => !seen.includes(worker));) {
      seen = [...this.#workers];
      await Promise.all(seen.map((worker) => worker.ended));
      await this.#replacing.settled();
    }
    this.#startNoMore();
  }

  #startNoMore(): void {
    this.#mayReplace = false;
    clearTimeout(this.#timer);
  }

  /**
   * Whether all Workers have stopped serving within `timeoutMs`. No further one is started; those starting get to serve
   * first.
   */
  async endWithin(timeoutMs: number): Promise<boolean> {
    this.#startNoMore();
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
    await Promise.all([...this.#workers, ...this.#failed].map((worker) => worker.close()));
  }

  [Symbol.dispose](): void {
    this.#thread?.terminate();
    this.#thread = undefined;
  }
}
