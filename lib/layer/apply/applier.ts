/**
 * Unpacks layers in Workers; the main thread only passes pieces on.
 *
 * Each layer has {@link BUFFERS} buffers of {@link PIECE_BYTES} that circulate between main thread and Worker. A faster
 * body waits for a free buffer, so memory stays bounded and a pull is as fast as the disk.
 *
 * When {@link Applier.apply} settles, for whatever reason, the Worker no longer touches the folder, so it may be
 * deleted.
 *
 * ```ts
 * await using applier = new Applier();
 * const { sizeBytes } = await applier.apply("/var/lib/…/diff", request.body, request.signal);
 * ```
 *
 * @module
 */
import { messageOf, NydusGdError } from "../../base/errors.ts";
import { logger } from "../../base/log.ts";
import { StoppableTasks } from "../../base/stoppable_tasks.ts";
import { workerUrl } from "../../base/worker.ts";
import { type Channel, receiveError, WorkerPool } from "../../base/worker_pool.ts";
import type { AppliedLayer } from "./apply.ts";
import type { ApplyReply, ApplyRequest } from "./apply_worker.ts";
import { type IdMaps, NO_ID_MAPS } from "../userns/id_maps.ts";
import { PieceReader } from "./piece_reader.ts";

/** Bytes sent to the Worker in one message: large enough that the cost of messages is negligible. */
const PIECE_BYTES = 1 << 20;
/** Pieces of one layer in flight. */
const BUFFERS = 4;

const WORKERS = 2;

const log = logger("layer");

/** Starts Workers when the first layer arrives. Must be disposed for the process to exit. */
export class Applier implements AsyncDisposable {
  readonly #pool = new WorkerPool<ApplyRequest, ApplyReply>(workerUrl(import.meta, "apply_worker.ts"), WORKERS);
  readonly #tasks = new StoppableTasks();

  /**
   * Unpacks the uncompressed tar `body` into `diffDir`, an existing empty folder; durable when the promise resolves.
   *
   * The body is read to its end even if the tar is bad, so that a client that is still sending gets the response.
   *
   * @throws {NydusGdError} "invalid-image" for a bad tar, "io" for the disk, "interrupted" if the body breaks off
   * @throws {NydusGdError} the signal's reason after an abort
   */
  async apply(
    diffDir: string,
    body: ReadableStream<Uint8Array>,
    signal?: AbortSignal,
    idMaps: IdMaps = NO_ID_MAPS,
  ): Promise<AppliedLayer> {
    const layer = await this.#tasks.run((until) => this.#run({ kind: "begin", diffDir, idMaps }, body, until), signal);
    if (layer.skippedXattrs > 0) {
      log.warn("extended attributes not stored", { diffDir, count: layer.skippedXattrs });
    }
    return layer;
  }

  /** Aborts running applies, waits until they have stopped, and ends the Workers. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tasks.stop(new NydusGdError("interrupted", "Cannot unpack layer: the program is stopping"));
    this.#pool[Symbol.dispose]();
  }

  async #run(begin: ApplyRequest, body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<AppliedLayer> {
    using pieces = new PieceReader(body);
    const unpacking = new RemoteUnpacking(this.#pool, begin);
    const onAbort = () => pieces.cancel(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      for (;;) {
        const piece = await readPiece(pieces, await unpacking.buffer());
        signal.throwIfAborted();
        if (piece === undefined) break;
        unpacking.push(piece);
      }
      const layer = await unpacking.finish();
      signal.throwIfAborted();
      return layer;
    } catch (error) {
      await unpacking.cancel();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

async function readPiece(pieces: PieceReader, buffer: ArrayBuffer): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await pieces.next(buffer);
  } catch (cause) {
    // Deno.serve takes the body away when it stops
    const state = cause instanceof Deno.errors.BadResource
      ? "the storage driver has been stopped"
      : `its stream broke off: ${messageOf(cause)}`;
    throw new NydusGdError("interrupted", `Cannot read layer: ${state}`, { cause, hint: "run the command again" });
  }
}

/** A layer being unpacked by a Worker. */
class RemoteUnpacking {
  readonly #channel: Channel<ApplyRequest>;
  readonly #settled = Promise.withResolvers<AppliedLayer | "cancelled">();
  /** Buffers not in flight. */
  readonly #spare: ArrayBuffer[] = [];
  #made = 0;
  #failure: NydusGdError | undefined;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(pool: WorkerPool<ApplyRequest, ApplyReply>, begin: ApplyRequest) {
    this.#settled.promise.catch(() => {}); // reported by push, finish or cancel
    this.#channel = pool.open({
      onMessage: (reply) => this.#onReply(reply),
      onDeath: (error) => this.#fail(error),
    });
    this.#channel.post(begin);
  }

  /** Returns a buffer for the next piece once one is free. */
  async buffer(): Promise<ArrayBuffer> {
    for (;;) {
      const spare = this.#spare.pop();
      if (spare !== undefined) return spare;
      if (this.#made < BUFFERS || this.#failure !== undefined) {
        this.#made++;
        return new ArrayBuffer(PIECE_BYTES);
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Sends a piece. After a failure, pieces are dropped. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#failure !== undefined) this.#spare.push(bytes.buffer);
    else this.#channel.post({ kind: "piece", bytes }, [bytes.buffer]);
  }

  async finish(): Promise<AppliedLayer> {
    if (this.#failure === undefined) this.#end({ kind: "finish" });
    const layer = await this.#settled.promise;
    if (layer === "cancelled") throw new NydusGdError("internal", "Cannot unpack layer: cancelled while finishing");
    return layer;
  }

  /** Resolves when the Worker no longer touches the folder. */
  async cancel(): Promise<void> {
    this.#end({ kind: "cancel" });
    await this.#settled.promise.catch(() => {});
    this.#channel.close();
  }

  #end(request: ApplyRequest): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#channel.post(request);
  }

  #onReply(reply: ApplyReply): void {
    switch (reply.kind) {
      case "consumed":
        this.#spare.push(reply.buffer);
        break;
      case "done":
        this.#channel.close();
        this.#settled.resolve(reply.layer);
        break;
      case "cancelled":
        this.#settled.resolve("cancelled");
        break;
      case "failed":
        this.#fail(receiveError(reply.error));
    }
    this.#wake?.();
  }

  #fail(error: NydusGdError): void {
    this.#failure = error;
    this.#settled.reject(error);
    this.#wake?.();
  }
}
