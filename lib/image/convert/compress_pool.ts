/**
 * Parcels of chunks digested and compressed in Workers, one for each core: whoever asks gets promises in the order that
 * it chooses.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { ENOUGH_BYTES } from "../../base/free_memory.ts";
import { workerUrl } from "../../base/worker.ts";
import { receiveError, WorkerPool } from "../../base/worker_pool.ts";
import { prepareDigests } from "../../blob/codec/codec.ts";
import type { CompressReply, CompressRequest } from "./compress_worker.ts";
import { digestParcel, type Parcel, type ParcelUnits, type StoredUnits, storeParcel } from "./parcel.ts";
import type { RafsOptions } from "./rafs_options.ts";

/** How chunks are digested and compressed. */
export type ParcelOptions = Pick<RafsOptions, "compressor" | "level" | "digester">;

/** What digests and compresses parcels. */
export interface Compressor {
  /** Begins with a parcel, whose memory is taken over. */
  take(parcel: Parcel): HeldParcel;
  /** Memory for a parcel: that of an earlier one where it is of this size. Its content is anything. */
  room(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** What stored units are in, when they are not needed any more. */
  giveBack(memory: ArrayBuffer): void;
  /** Lets go of what was given back, and of what the Workers do not need any more: a layer is over. */
  rest(): Promise<void>;
}

/** A parcel that some thread has. */
export interface HeldParcel {
  /** 32 bytes for each chunk. */
  readonly digests: Promise<Uint8Array<ArrayBuffer>>;
  /** Compresses these units of it, into its own memory: to be called once. */
  store(units: ParcelUnits): Promise<StoredUnits>;
}

/** Does it in this thread. */
export function compressInline(options: ParcelOptions): Compressor {
  return {
    take: (parcel) => ({
      digests: prepareDigests(options.digester).then(() => digestParcel(parcel, options.digester)),
      store: (units) => Promise.resolve(storeParcel(parcel, units, options)),
    }),
    room: (sizeBytes) => new Uint8Array(sizeBytes),
    giveBack: () => {},
    rest: () => Promise.resolve(),
  };
}

/** See the module. Disposing ends the Workers; who still waits is told. */
export class CompressPool implements Compressor, Disposable {
  readonly #pool: WorkerPool<CompressRequest, CompressReply>;
  readonly #lanes: Lane[] = [];
  readonly #room: ArrayBuffer[] = [];
  #nextNumber = 0;

  /** @param size Workers */
  constructor(private readonly options: ParcelOptions, private readonly size = navigator.hardwareConcurrency) {
    this.#pool = new WorkerPool(workerUrl(import.meta, "compress_worker.ts"), size);
  }

  /** Starts all Workers, so that they are there when the first parcel is. */
  start(): void {
    while (this.#lanes.length < this.size) this.#open();
  }

  take(parcel: Parcel): HeldParcel {
    const lane = this.#pick();
    const { digester, ...compression } = this.options;
    const number = this.#nextNumber++;
    lane.held++;
    const taken = lane.ask({ type: "take", number, parcel, digester }, buffersOf(parcel));
    const digests = taken.then((reply) => reply.type === "taken" ? reply.digests : outOfStep());
    const store = async (units: ParcelUnits) => {
      const reply = await lane.ask({ type: "store", number, units, compression });
      lane.held--;
      if (reply.type !== "stored") return outOfStep();
      return reply.stored;
    };
    return { digests, store };
  }

  room(sizeBytes: number): Uint8Array<ArrayBuffer> {
    const at = this.#room.findIndex((buffer) => buffer.byteLength === sizeBytes);
    const [buffer] = at < 0 ? [] : this.#room.splice(at, 1);
    return buffer === undefined ? new Uint8Array(sizeBytes) : new Uint8Array(buffer);
  }

  giveBack(memory: ArrayBuffer): void {
    this.#room.push(memory);
  }

  async rest(): Promise<void> {
    for (const buffer of this.#room.splice(0)) buffer.transfer(0); // without it they wait for a collection
    if (Deno.memoryUsage().rss < ENOUGH_BYTES) return;
    await Promise.all(this.#lanes.map((lane) => lane.ask({ type: "rest" })));
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }

  /** The Worker that has least to do. */
  #pick(): Lane {
    if (this.#lanes.length < this.size && this.#lanes.every(({ held }) => held > 0)) return this.#open();
    return this.#lanes.reduce((a, b) => b.held < a.held ? b : a);
  }

  #open(): Lane {
    const lane = new Lane(this.#pool, () => this.#lanes.splice(this.#lanes.indexOf(lane), 1));
    this.#lanes.push(lane);
    return lane;
  }
}

/** A Worker, whose answers come in the order of the requests. */
class Lane {
  /** Parcels that it has. */
  held = 0;
  readonly #waiting: PromiseWithResolvers<CompressReply>[] = [];
  readonly #channel;
  #death: NydusGdError | undefined;

  constructor(pool: WorkerPool<CompressRequest, CompressReply>, onDeath: () => void) {
    this.#channel = pool.open({
      onMessage: (reply) => {
        const first = this.#waiting.shift();
        if (reply.type === "failed") first?.reject(receiveError(reply.error));
        else first?.resolve(reply);
      },
      onDeath: (error) => {
        this.#death = error;
        onDeath();
        for (const each of this.#waiting) each.reject(error);
      },
    });
  }

  /** @param transfer memory that moves to the Worker */
  ask(request: CompressRequest, transfer: ArrayBuffer[] = []): Promise<CompressReply> {
    if (this.#death !== undefined) return Promise.reject(this.#death);
    const waiting = Promise.withResolvers<CompressReply>();
    this.#waiting.push(waiting);
    this.#channel.post(request, transfer);
    return waiting.promise;
  }
}

/** All that is of no use here once the Worker has the parcel. */
function buffersOf({ bytes, files }: Parcel): ArrayBuffer[] {
  const columns = files === undefined ? [] : [files.paths, files.pathEnds, files.offsets, files.areLast];
  return [bytes, ...columns].map(({ buffer }) => buffer);
}

function outOfStep(): never {
  throw new NydusGdError("internal", "Cannot compress: the worker answered another request");
}
