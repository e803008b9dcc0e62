/**
 * Chunks compressed in Workers, one for each core: whoever asks gets promises in the order that it chooses.
 *
 * @module
 */
import { workerUrl } from "../../base/worker.ts";
import { type Channel, receiveError, WorkerPool } from "../../base/worker_pool.ts";
import { compressChunk, type Compression } from "./compression.ts";
import type { CompressReply, CompressRequest } from "./compress_worker.ts";

/** Compresses one chunk; the bytes are taken over. The result is never longer. */
export type Compress = (plain: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>;

/** Plain bytes up to which a Worker costs more than it takes off. */
const INLINE_BYTES = 4096;

/** Does it in this thread. */
export function compressInline(compression: Compression): Compress {
  return (plain) => Promise.resolve(compressChunk(plain, compression));
}

type Waiting = PromiseWithResolvers<Uint8Array<ArrayBuffer>>;

/** A Worker and the chunks that it has, first come first served. */
interface Lane {
  readonly channel: Channel<CompressRequest>;
  readonly waiting: Waiting[];
  bytes: number;
}

/** See the module. Disposing ends the Workers; who still waits is told. */
export class CompressPool implements Disposable {
  readonly #pool: WorkerPool<CompressRequest, CompressReply>;
  readonly #lanes: Lane[] = [];

  /** @param size Workers */
  constructor(private readonly compression: Compression, private readonly size = navigator.hardwareConcurrency) {
    this.#pool = new WorkerPool(workerUrl(import.meta, "compress_worker.ts"), size);
  }

  readonly compress: Compress = (plain) => {
    if (this.compression.compressor === "none") return Promise.resolve(plain);
    if (plain.length <= INLINE_BYTES) return Promise.resolve(compressChunk(plain, this.compression));
    const lane = this.#pick();
    const waiting: Waiting = Promise.withResolvers();
    lane.waiting.push(waiting);
    lane.bytes += plain.length;
    const owned = plain.buffer.byteLength === plain.length ? plain : plain.slice();
    lane.channel.post({ plain: owned, compression: this.compression }, [owned.buffer]);
    return waiting.promise;
  };

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }

  #pick(): Lane {
    if (this.#lanes.length < this.size && this.#lanes.every(({ waiting }) => waiting.length > 0)) return this.#start();
    return this.#lanes.reduce((a, b) => b.bytes < a.bytes ? b : a);
  }

  #start(): Lane {
    const waiting: Waiting[] = [];
    const channel = this.#pool.open({
      onMessage: (reply) => {
        const first = waiting.shift();
        lane.bytes -= reply.plainBytes;
        if ("error" in reply) first?.reject(receiveError(reply.error));
        else first?.resolve(reply.stored);
      },
      onDeath: (error) => {
        const at = this.#lanes.indexOf(lane);
        if (at >= 0) this.#lanes.splice(at, 1);
        for (const each of waiting) each.reject(error);
      },
    });
    const lane: Lane = { channel, waiting, bytes: 0 };
    this.#lanes.push(lane);
    return lane;
  }
}
