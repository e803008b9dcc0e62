/**
 * Digests and compresses parcels of chunks in Workers, one per core. Callers get promises in the order they choose. A
 * Worker also helps to pack the image's bootstrap.
 *
 * @module
 */
import { NydusGdError } from "../../../base/errors.ts";
import { ENOUGH_BYTES } from "../../../base/free_memory.ts";
import { workerUrl } from "../../../base/worker.ts";
import { receiveError, WorkerPool } from "../../../base/worker_pool.ts";
import { prepareDigests } from "../../../blob/codec/codec.ts";
import type { Digester } from "../../../rafs/bootstrap.ts";
import { type DeflatedBlock, type Pack, packBlocks, packHere } from "../../build/gzip_blocks.ts";
import type { CompressReply, CompressRequest } from "./compress_worker.ts";
import type { Compression } from "../format/compression.ts";
import { digestParcel, type Parcel, type ParcelUnits, type StoredUnits, storeParcel } from "./parcel.ts";

/**
 * A stored layer of so many bytes is a few parcels, and a bootstrap of so many is packed, in the time in which a Worker
 * starts.
 */
const FEW_BYTES = 1 << 20;

/** Parcels of a small layer that are processed in this thread: a Worker takes longer to start. */
const FEW_PARCELS = 4;

/** Blocks of a bootstrap that a Worker has at most: one to deflate and one to go on with. */
const BLOCKS_AHEAD = 2;

/** zstd levels above take longer than the start of a Worker. */
const FAST_LEVEL = 6;

/** Digests and compresses parcels. */
export interface ParcelCompressor {
  /** Starts processing a parcel and takes over its memory. */
  take(parcel: Parcel, digester: Digester): HeldParcel;
  /** Returns memory for a parcel, reusing that of an earlier one of the same size. Its content is arbitrary. */
  room(sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** Returns the memory of stored units for reuse. */
  recycle(memory: ArrayBuffer): void;
  /** Frees memory kept for reuse, here and in the Workers. For use between layers. */
  trim(): Promise<void>;
}

/** A parcel held by some thread. */
export interface HeldParcel {
  /** 32 bytes per chunk. */
  readonly digests: Promise<Uint8Array<ArrayBuffer>>;
  /** Compresses these units of the parcel into the parcel's memory. May be called once. */
  store(units: ParcelUnits, compression: Compression): Promise<StoredUnits>;
}

/** A compressor that works in the calling thread. */
export const INLINE: ParcelCompressor = {
  take: (parcel, digester) => ({
    digests: prepareDigests(digester).then(() => digestParcel(parcel, digester)),
    store: (units, compression) => Promise.resolve(storeParcel(parcel, units, compression)),
  }),
  room: (sizeBytes) => new Uint8Array(sizeBytes),
  recycle: () => {},
  trim: () => Promise.resolve(),
};

/** A compressor that uses Workers. Disposing ends the Workers and rejects pending requests. */
export class CompressPool implements ParcelCompressor, Disposable {
  readonly #pool: WorkerPool<CompressRequest, CompressReply>;
  readonly #slots: WorkerSlot[] = [];
  readonly #room: ArrayBuffer[] = [];
  /** Parcels that are still to be processed in this thread. */
  #inlineParcels = 0;
  #nextNumber = 0;

  /** @param size number of Workers */
  constructor(private readonly size = navigator.hardwareConcurrency) {
    this.#pool = new WorkerPool(workerUrl(import.meta, "compress_worker.ts"), size);
  }

  /**
   * Gets ready for a layer of `storedBytes`: starts all Workers, or has the first parcels processed in this thread if
   * the layer is small and `level`, of zstd, is fast.
   */
  start(storedBytes = Infinity, level = 0): void {
    const isSmall = storedBytes <= FEW_BYTES && level <= FAST_LEVEL;
    if (isSmall && this.#slots.length === 0) this.#inlineParcels = FEW_PARCELS;
    if (isSmall) return;
    this.#inlineParcels = 0;
    while (this.#slots.length < this.size) this.#open();
  }

  /** Returns a function that packs a bootstrap of about `sizeBytes`, for which a Worker gets ready if that is worth it. */
  packer(sizeBytes: number): Pack {
    if (sizeBytes <= FEW_BYTES) return packHere;
    if (this.#slots.length === 0) this.#open();
    const ready: WorkerSlot[] = [];
    for (const slot of this.#slots) {
      deflateIn(slot, new Uint8Array(0), 0).then(() => ready.push(slot)).catch(() => {}); // then others pack
    }
    return (parts) =>
      packBlocks(parts, (block, sizeBytes) => {
        const slot = ready.find(({ held }) => held < BLOCKS_AHEAD);
        return slot && deflateIn(slot, block, sizeBytes);
      });
  }

  take(parcel: Parcel, digester: Digester): HeldParcel {
    if (this.#inlineParcels > 0) {
      this.#inlineParcels--;
      return INLINE.take(parcel, digester);
    }
    const slot = this.#pick();
    const number = this.#nextNumber++;
    slot.held++;
    const taken = slot.ask({ type: "take", number, parcel, digester }, buffersOf(parcel));
    const digests = taken.then((reply) => reply.type === "taken" ? reply.digests : outOfStep());
    const store = async (units: ParcelUnits, { compressor, level }: Compression) => {
      const reply = await slot.ask({ type: "store", number, units, compression: { compressor, level } });
      slot.held--;
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

  recycle(memory: ArrayBuffer): void {
    this.#room.push(memory);
  }

  async trim(): Promise<void> {
    for (const buffer of this.#room.splice(0)) buffer.transfer(0); // else it waits for a garbage collection
    if (Deno.memoryUsage().rss < ENOUGH_BYTES) return;
    await Promise.all(this.#slots.map((slot) => slot.ask({ type: "rest" })));
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }

  /** The Worker with the fewest parcels. */
  #pick(): WorkerSlot {
    if (this.#slots.length < this.size && this.#slots.every(({ held }) => held > 0)) return this.#open();
    return this.#slots.reduce((a, b) => b.held < a.held ? b : a);
  }

  #open(): WorkerSlot {
    const slot = new WorkerSlot(this.#pool, () => this.#slots.splice(this.#slots.indexOf(slot), 1));
    this.#slots.push(slot);
    return slot;
  }
}

/** A Worker, which answers in the order of the requests. */
class WorkerSlot {
  /** Parcels that it currently holds. */
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

  /** @param transfer memory to transfer to the Worker */
  ask(request: CompressRequest, transfer: ArrayBuffer[] = []): Promise<CompressReply> {
    if (this.#death !== undefined) return Promise.reject(this.#death);
    const waiting = Promise.withResolvers<CompressReply>();
    this.#waiting.push(waiting);
    this.#channel.post(request, transfer);
    return waiting.promise;
  }
}

/** Has the Worker deflate `block[0, sizeBytes)`. */
async function deflateIn(
  slot: WorkerSlot,
  bytes: Uint8Array<ArrayBuffer>,
  sizeBytes: number,
): Promise<DeflatedBlock> {
  slot.held++;
  const reply = await slot.ask({ type: "deflate", bytes, sizeBytes }, [bytes.buffer]);
  slot.held--;
  return reply.type === "deflated" ? reply : outOfStep();
}

/** Buffers that are no longer needed here once the Worker has the parcel. */
function buffersOf({ bytes, files }: Parcel): ArrayBuffer[] {
  if (files === undefined) return [bytes.buffer];
  const { paths, pathEnds, offsets, fileSizes, ctimeSecs, ctimeNsecs } = files;
  return [bytes, paths, pathEnds, offsets, fileSizes, ctimeSecs, ctimeNsecs].map(({ buffer }) => buffer);
}

function outOfStep(): never {
  throw new NydusGdError("internal", "Cannot compress: the worker answered another request");
}
