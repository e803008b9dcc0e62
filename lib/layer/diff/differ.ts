/**
 * Computes differences between layers, and what they take on disk, in Workers.
 *
 * ```ts
 * await using differ = new Differ();
 * const tar = await differ.tar({ layers: [upper, ...lowers], below: lowers });
 * ```
 *
 * @module
 */
import { interruption, throwIfAborted } from "../../base/abort.ts";
import { NydusGdError } from "../../base/errors.ts";
import { workerUrl } from "../../base/worker.ts";
import { type Channel, receiveError, WorkerPool } from "../../base/worker_pool.ts";
import type { Change, StackPair } from "./changes.ts";
import type { DiffReply, DiffRequest } from "./diff_worker.ts";
import type { DiskUsage } from "./disk_usage.ts";

const WORKERS = 2;

/** Starts Workers on demand. Must be disposed for the process to exit. */
export class Differ implements Disposable {
  readonly #pool = new WorkerPool<DiffRequest, DiffReply>(workerUrl(import.meta, "diff_worker.ts"), WORKERS);

  /**
   * The tar of what `layers` has and `below` has not. Resolves once the first piece is ready, so most failures reject
   * the promise; later ones abort the stream. Read the stream to its end or cancel it.
   *
   * @throws {NydusGdError} "io"; "unsupported" for layers that are not plain (redirect_dir, metacopy)
   */
  async tar(pair: StackPair, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    throwIfAborted(signal);
    const answers = new Answers(this.#pool, signal);
    let next: Promise<DiffReply> | undefined = answers.ask({ kind: "tar", pair });
    let first: DiffReply | undefined = await next;
    const stop = () => answers.end({ kind: "cancel" });
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const reply = first ?? await next;
        first = undefined;
        if (reply?.kind === "piece") {
          next = answers.ask({ kind: "next" }); // the Worker reads on while this piece travels
          next.catch(() => {}); // reported by the next pull
          controller.enqueue(reply.bytes);
        } else {
          answers.end();
          controller.close();
        }
      },
      cancel: stop,
    }, { highWaterMark: 0 });
  }

  /** Output of `docker diff`. */
  async changes(pair: StackPair, signal: AbortSignal): Promise<Change[]> {
    return (await this.#once("changes", { kind: "changes", pair }, signal)).changes;
  }

  /** Bytes of the files that `layers` has and `below` has not. */
  async sizeBytes(pair: StackPair, signal: AbortSignal): Promise<number> {
    return (await this.#once("size", { kind: "size", pair }, signal)).sizeBytes;
  }

  /** The space that a tree takes on disk. @throws {NydusGdError} "io" */
  async usage(folder: string, signal: AbortSignal): Promise<DiskUsage> {
    return (await this.#once("usage", { kind: "usage", folder }, signal)).usage;
  }

  /** Ends the Workers; running operations fail. They write nothing, so there is nothing to wait for. */
  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }

  async #once<K extends DiffReply["kind"]>(
    kind: K,
    request: DiffRequest,
    signal: AbortSignal,
  ): Promise<Extract<DiffReply, { kind: K }>> {
    throwIfAborted(signal);
    const answers = new Answers(this.#pool, signal);
    try {
      const reply = await answers.ask(request);
      if (isOfKind(reply, kind)) return reply;
      throw new NydusGdError("internal", `Cannot compare layers: the Worker answered ${reply.kind}, expected ${kind}`);
    } finally {
      answers.end();
    }
  }
}

function isOfKind<K extends DiffReply["kind"]>(reply: DiffReply, kind: K): reply is Extract<DiffReply, { kind: K }> {
  return reply.kind === kind;
}

/** A request and its replies. */
class Answers {
  readonly #channel: Channel<DiffRequest>;
  #waiting: PromiseWithResolvers<DiffReply> | undefined;
  #failure: NydusGdError | undefined;
  readonly #onAbort = () => {
    this.end({ kind: "cancel" });
    this.#fail(interruption(this.signal));
  };

  constructor(pool: WorkerPool<DiffRequest, DiffReply>, private readonly signal: AbortSignal) {
    this.#channel = pool.open({
      onMessage: (reply) => {
        if (reply.kind === "failed") this.#fail(receiveError(reply.error));
        else this.#waiting?.resolve(reply);
      },
      onDeath: (error) => this.#fail(error),
    });
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  ask(request: DiffRequest): Promise<DiffReply> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#waiting = Promise.withResolvers();
    this.#channel.post(request);
    return this.#waiting.promise;
  }

  /** Ends the exchange; `last` is sent to a Worker that may be waiting. */
  end(last?: DiffRequest): void {
    this.signal.removeEventListener("abort", this.#onAbort);
    if (last !== undefined) this.#channel.post(last);
    this.#channel.close();
  }

  #fail(error: NydusGdError): void {
    this.#failure = error;
    this.#waiting?.reject(error);
    this.end();
  }
}
