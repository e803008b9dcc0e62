/**
 * The main thread's end of one FUSE Worker.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Fd } from "../../../ffi/fd.ts";
import { NydusGdError } from "../../base/errors.ts";
import { Poster } from "../reads/posted.ts";
import { RequestRegion } from "./request_file.ts";
import { COUNTER, type FromWorker, GATE, type Replay, type ToWorker, type WorkerStart } from "./worker_messages.ts";

/** Start parameters common to all Workers of a session. */
export type CommonStart = Pick<
  WorkerStart,
  "init" | "maxRead" | "maxBackground" | "openRequests" | "rootImage" | "images" | "startSec" | "replay"
>;

/** One Worker's part of the connection. */
export interface ConnectionPart {
  /** Duplicated for the Worker. */
  readonly device: Fd;
  /** Address of its region of the request file. */
  readonly region: bigint;
  /** Counter of parked requests that were released there. */
  readonly freed: Int32Array<SharedArrayBuffer>;
}

/** Polling interval while waiting for a Worker to stop at its gate. */
const STOP_POLL_MS = 2;

/** Controls one Worker: starts serving, sends messages, ends it. */
export class FuseWorkerHandle {
  /** Cells of COUNTER, written by the Worker. */
  readonly counters = new Float64Array(new SharedArrayBuffer(COUNTER.LENGTH * 8));
  readonly #gate = new Int32Array(new SharedArrayBuffer(GATE.LENGTH * 4));
  readonly #poster = new Poster<ToWorker>();
  readonly #region: RequestRegion;
  readonly #ready = Promise.withResolvers<bigint>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #startedMs = performance.now();
  #session = 0n;
  /** Whether it ended with a request that it has received. */
  #wasBusy = false;

  /**
   * @param worker from startFuseThread, owned from now on
   */
  constructor(
    private readonly worker: Worker,
    { device, region, freed }: ConnectionPart,
    private readonly common: CommonStart,
    onMessage: (worker: FuseWorkerHandle, message: FromWorker) => void,
  ) {
    this.#region = new RequestRegion(region, freed);
    const receive = (data: FromWorker) => {
      if (data.kind === "ready") {
        this.#session = data.session;
        this.#ready.resolve(data.session);
      } else if (data.kind === "closed") {
        this.#closed.resolve();
      } else if (data.kind === "ended") {
        this.#ready.reject(new NydusGdError("environment", data.message ?? "Cannot start FUSE Worker: mount is gone"));
        this.#wasBusy = Atomics.exchange(this.#gate, GATE.busy, 0) === 1;
        this.#ended.resolve();
      }
      onMessage(this, data);
    };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#closed.resolve();
      receive({ kind: "ended", message: event.message });
    };
    // after a failed start nobody may wait for it: avoid an unhandled rejection
    this.#ready.promise.catch(() => undefined);
    const counters = this.counters;
    const fd = device.duplicate().release();
    const messages = this.#poster.far;
    const start: WorkerStart = { ...common, freed, counters, gate: this.#gate, fd, region, messages };
    worker.postMessage(start, [messages.port]);
  }

  /** Resolves when INIT is answered and requests are served. */
  get ready(): Promise<bigint> {
    return this.#ready.promise;
  }

  /** Resolves when the Worker has stopped serving. Its session stays alive until {@link close}. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Address of its struct fuse_session; 0 before it serves. */
  get session(): bigint {
    return this.#session;
  }

  /** Milliseconds since its start. */
  get ageMs(): number {
    return performance.now() - this.#startedMs;
  }

  /** What one has to do first that takes the place of this one, which has failed. */
  get leftOver(): Replay {
    const { replay } = this.common;
    if (this.#wasBusy || (this.counters[COUNTER.requests] ?? 0) > 0) return { inbox: true, parked: false };
    return replay;
  }

  /** Posts a message, which the Worker processes before its next request. */
  send(message: ToWorker): void {
    this.#poster.send(message);
  }

  /** Releases a parked request. */
  release(slot: number): void {
    this.#region.release(slot);
  }

  /**
   * Stops the Worker between two requests. A request still in its inbox or parked is left to a successor. The thread
   * may keep waiting for a request, but touches nothing any more.
   *
   * @returns false if it is still at work after `timeoutMs`
   */
  async stop(timeoutMs: number): Promise<boolean> {
    Atomics.store(this.#gate, GATE.stopped, 1);
    const end = performance.now() + timeoutMs;
    while (Atomics.load(this.#gate, GATE.busy) === 1) {
      if (performance.now() > end) return false;
      await delay(STOP_POLL_MS);
    }
    return true;
  }

  /** Ends an {@link ended} Worker: destroys its session and ends its thread. */
  async close(): Promise<void> {
    this.worker.postMessage("close");
    await this.#closed.promise;
    this.#poster.close();
    this.worker.terminate();
  }
}
