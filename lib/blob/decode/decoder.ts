/**
 * Dispatches decoding: large jobs to a small pool of Workers, small ones to the calling thread.
 *
 * A Worker takes 15 to 30 ms to start and 11 to 20 MB of memory. Each job adds 40 to 60 us of overhead, in which the
 * calling thread would decode about 30 KiB. So Workers are started when work is expected,
 * {@link DecoderOptions.inlineBytes} defines what is small, and idle Workers are terminated. On-demand jobs run before
 * prefetch.
 *
 * @module
 */
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { Limiter, type Priority } from "../../base/limiter.ts";
import { logger } from "../../base/log.ts";
import { startWorker, workerUrl } from "../../base/worker.ts";
import {
  checkChunks,
  type ChunkCoding,
  type ChunkFailure,
  decodeChunks,
  type DecodeTarget,
  type StoredChunks,
  verifyChunks,
} from "./chunk_decoder.ts";
import type { Digester } from "../../rafs/bootstrap.ts";
import { prepareDigests } from "../codec/codec.ts";
import type { DecodeReply, DecodeRequest } from "./decode_messages.ts";

const log = logger("blob");

/** Size of the pool, and which jobs use it. */
export interface DecoderOptions {
  /** Maximum number of Workers; 0: everything runs in the calling thread. */
  readonly workers: number;
  /** Maximum plain bytes of a job that runs in the calling thread. */
  readonly inlineBytes: number;
  /** Milliseconds without a job after which Workers are terminated. */
  readonly idleMs: number;
}

/** A Worker has failed, whatever it was doing. */
class ThreadFailure extends NydusGdError {}

/** A Worker and the targets that it has received. */
class DecodeThread {
  readonly #worker: Worker;
  /** Keys of the targets posted to the Worker. */
  readonly #targets = new Set<number>();
  #job = Promise.withResolvers<DecodeReply>();
  #broken: Error | undefined;

  constructor() {
    this.#worker = startWorker(workerUrl(import.meta, "decode_worker.ts"), "decode");
    this.#worker.onmessage = ({ data }: MessageEvent<DecodeReply>) => this.#job.resolve(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#broken = new ThreadFailure("internal", `Cannot decode: the Worker failed: ${event.message}`);
      this.#job.reject(this.#broken);
    };
  }

  get broken(): boolean {
    return this.#broken !== undefined;
  }

  /** Resolves when the Worker can take a job. */
  async started(): Promise<void> {
    await this.#job.promise;
  }

  /** @param target target of the job; undefined if the request is self-contained */
  async run(
    target: DecodeTarget | undefined,
    request: DecodeRequest,
    transfer: Transferable[],
  ): Promise<readonly ChunkFailure[]> {
    if (this.#broken !== undefined) throw this.#broken;
    if (target !== undefined && !this.#targets.has(target.key)) {
      const { posted, ...own } = target;
      const sent = { ...own, columns: posted ?? target.columns };
      this.#worker.postMessage({ type: "target", target: sent } satisfies DecodeRequest);
      this.#targets.add(target.key);
    }
    this.#job = Promise.withResolvers();
    this.#worker.postMessage(request, transfer);
    const reply = await this.#job.promise;
    if (reply.type === "done") return reply.failures;
    throw new NydusGdError("internal", reply.type === "failed" ? reply.message : "Cannot decode: no reply");
  }

  drop(key: number): void {
    if (this.#targets.delete(key)) this.#worker.postMessage({ type: "drop", key } satisfies DecodeRequest);
  }

  terminate(): void {
    this.#worker.terminate();
  }
}

/** Decodes and checks chunks. */
export class Decoder implements Disposable {
  readonly #threads = new Set<DecodeThread>();
  readonly #idle: DecodeThread[] = [];
  readonly #turns: Limiter;
  #closed = false;
  /** Whether {@link prepare} is starting a Worker: several blobs opened at the same time need only one. */
  #preparing = false;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: DecoderOptions) {
    this.#turns = new Limiter(Math.max(1, options.workers));
  }

  /**
   * Decodes chunks into the cache file: {@link decodeChunks}.
   *
   * @param chunks must not be modified afterwards: the bytes are transferred to the Worker, unless they are shared or
   * part of a larger buffer
   */
  async decode(target: DecodeTarget, chunks: StoredChunks, priority: Priority): Promise<readonly ChunkFailure[]> {
    if (this.#isSmall(target, chunks.rows)) {
      await prepareDigests(target.digester);
      return decodeChunks(target, chunks);
    }
    const { sent, transfer } = sendable(chunks.stored);
    const request = { ...chunks, type: "decode", key: target.key, stored: sent } as const;
    return await this.#runInThread(target, request, transfer, priority);
  }

  /**
   * Compares chunks with their digests without writing them: {@link verifyChunks}.
   *
   * @param chunks must not be modified afterwards: the bytes are transferred to the Worker, unless they are shared or
   * part of a larger buffer
   */
  async verify(coding: ChunkCoding, chunks: StoredChunks): Promise<readonly ChunkFailure[]> {
    if (this.#isSmall(coding, chunks.rows)) {
      await prepareDigests(coding.digester);
      return verifyChunks(coding, chunks);
    }
    const { sent, transfer } = sendable(chunks.stored);
    const request = { ...chunks, type: "verify", coding, stored: sent } as const;
    return await this.#runInThread(undefined, request, transfer, "on-demand");
  }

  /** Verifies chunks in the cache file: {@link checkChunks}. */
  async check(target: DecodeTarget, rows: readonly number[], priority: Priority): Promise<readonly ChunkFailure[]> {
    if (this.#isSmall(target, rows)) {
      await prepareDigests(target.digester);
      return checkChunks(target, rows);
    }
    return await this.#runInThread(target, { type: "check", key: target.key, rows }, [], priority);
  }

  /** Prepares for upcoming work: compiles digests and starts a first Worker while the bytes are being fetched. */
  prepare(digester: Digester): void {
    prepareDigests(digester).catch((error) => log.debug("digests not prepared", { error: messageOf(error) }));
    if (this.options.workers === 0 || this.#threads.size > 0 || this.#preparing) return;
    this.#preparing = true;
    this.#turns.run("prefetch", async () => this.#rest(await this.#startThread())).catch((error) => {
      log.debug("decode Worker not started", { error: messageOf(error) }); // the job that needs it reports this
    }).finally(() => this.#preparing = false);
  }

  /** Number of live Workers. */
  get threads(): number {
    return this.#threads.size;
  }

  /** Forgets a target. None of its jobs may be in flight. */
  drop(key: number): void {
    for (const thread of this.#threads) thread.drop(key);
  }

  /** Terminates the Workers. No job may be in flight. */
  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#idleTimer);
    for (const thread of this.#threads) thread.terminate();
    this.#threads.clear();
    this.#idle.length = 0;
  }

  #isSmall({ columns }: ChunkCoding, rows: readonly number[]): boolean {
    if (this.options.workers === 0) return true;
    let bytes = 0;
    for (const row of rows) bytes += columns.uncompressedSize[row] as number;
    return bytes <= this.options.inlineBytes;
  }

  #runInThread(
    target: DecodeTarget | undefined,
    request: DecodeRequest,
    transfer: Transferable[],
    priority: Priority,
  ): Promise<readonly ChunkFailure[]> {
    return this.#turns.run(priority, async () => {
      try {
        return await this.#runOnce(target, request, transfer);
      } catch (error) {
        const isLost = transfer.length > 0; // with the thread
        if (!(error instanceof ThreadFailure) || isLost) throw error;
        log.error("a thread that decodes failed, another does its work", { cause: error.message });
        return await this.#runOnce(target, request, transfer);
      }
    });
  }

  async #runOnce(
    target: DecodeTarget | undefined,
    request: DecodeRequest,
    transfer: Transferable[],
  ): Promise<readonly ChunkFailure[]> {
    const thread = this.#takeIdle() ?? await this.#startThread();
    try {
      return await thread.run(target, request, transfer);
    } finally {
      if (thread.broken) this.#discard(thread);
      else this.#rest(thread);
    }
  }

  #takeIdle(): DecodeThread | undefined {
    for (let thread = this.#idle.pop(); thread !== undefined; thread = this.#idle.pop()) {
      if (!thread.broken) return thread;
      this.#discard(thread);
    }
    return undefined;
  }

  #rest(thread: DecodeThread): void {
    this.#idle.push(thread);
    clearTimeout(this.#idleTimer);
    if (!this.#closed) this.#idleTimer = setTimeout(() => this.#endIdle(), this.options.idleMs);
  }

  #endIdle(): void {
    for (const thread of this.#idle.splice(0)) this.#discard(thread);
  }

  async #startThread(): Promise<DecodeThread> {
    if (this.#closed) throw new NydusGdError("interrupted", "Cannot decode: the cache is closed");
    const thread = new DecodeThread();
    this.#threads.add(thread);
    try {
      await thread.started();
      return thread;
    } catch (error) {
      this.#discard(thread);
      throw new NydusGdError("internal", `Cannot start decode Worker: ${messageOf(error)}`, { cause: error });
    }
  }

  #discard(thread: DecodeThread): void {
    thread.terminate();
    this.#threads.delete(thread);
  }
}

/** Shared memory is visible to the Worker as it is; of a view of a larger buffer, only the view's bytes are copied. */
function sendable(stored: Uint8Array): { readonly sent: Uint8Array; readonly transfer: Transferable[] } {
  if (stored.buffer instanceof SharedArrayBuffer) return { sent: stored, transfer: [] };
  const own = stored.byteLength === stored.buffer.byteLength ? stored : stored.slice();
  return { sent: own, transfer: [own.buffer as ArrayBuffer] };
}
