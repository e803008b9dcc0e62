/**
 * Parcels of chunks compressed in Workers, one for each core: whoever asks gets promises in the order that it chooses.
 *
 * @module
 */
import { workerUrl } from "../../base/worker.ts";
import { type Channel, receiveError, WorkerPool } from "../../base/worker_pool.ts";
import { type Compression, compressParcel, type Parcel } from "./compression.ts";
import type { CompressReply, CompressRequest } from "./compress_worker.ts";

/** What compresses parcels. */
export interface Compressor {
  /** Each chunk of the parcel, never longer. The parcel's memory is taken over. */
  compress(parcel: Parcel): Promise<Parcel>;
  /** Memory for a parcel: that of an earlier one where it is of this size. Its content is anything. */
  room(sizeBytes: number): Uint8Array<ArrayBuffer>;
}

/** Does it in this thread. */
export function compressInline(compression: Compression): Compressor {
  return {
    compress: (parcel) => Promise.resolve(compressParcel(parcel, compression)),
    room: (sizeBytes) => new Uint8Array(sizeBytes),
  };
}

/** A Worker and the parcels that it has, first come first served. */
interface Lane {
  readonly channel: Channel<CompressRequest>;
  readonly waiting: PromiseWithResolvers<Parcel>[];
}

/** See the module. Disposing ends the Workers; who still waits is told. */
export class CompressPool implements Compressor, Disposable {
  readonly #pool: WorkerPool<CompressRequest, CompressReply>;
  readonly #lanes: Lane[] = [];
  readonly #room: ArrayBuffer[] = [];

  /** @param size Workers */
  constructor(private readonly compression: Compression, private readonly size = navigator.hardwareConcurrency) {
    this.#pool = new WorkerPool(workerUrl(import.meta, "compress_worker.ts"), size);
  }

  compress(parcel: Parcel): Promise<Parcel> {
    if (this.compression.compressor === "none") return Promise.resolve(parcel);
    const lane = this.#pick();
    const waiting = Promise.withResolvers<Parcel>();
    lane.waiting.push(waiting);
    lane.channel.post({ parcel, compression: this.compression }, [parcel.bytes.buffer]);
    return waiting.promise;
  }

  room(sizeBytes: number): Uint8Array<ArrayBuffer> {
    const at = this.#room.findIndex((buffer) => buffer.byteLength === sizeBytes);
    const [buffer] = at < 0 ? [] : this.#room.splice(at, 1);
    return buffer === undefined ? new Uint8Array(sizeBytes) : new Uint8Array(buffer);
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }

  #pick(): Lane {
    if (this.#lanes.length < this.size && this.#lanes.every(({ waiting }) => waiting.length > 0)) return this.#start();
    return this.#lanes.reduce((a, b) => b.waiting.length < a.waiting.length ? b : a);
  }

  #start(): Lane {
    const waiting: PromiseWithResolvers<Parcel>[] = [];
    const channel = this.#pool.open({
      onMessage: (reply) => {
        const first = waiting.shift();
        this.#room.push(reply.plain);
        if ("error" in reply) first?.reject(receiveError(reply.error));
        else first?.resolve(reply.parcel);
      },
      onDeath: (error) => {
        const at = this.#lanes.indexOf(lane);
        if (at >= 0) this.#lanes.splice(at, 1);
        for (const each of waiting) each.reject(error);
      },
    });
    const lane: Lane = { channel, waiting };
    this.#lanes.push(lane);
    return lane;
  }
}
