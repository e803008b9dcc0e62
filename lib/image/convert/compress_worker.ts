/**
 * Worker of compress_pool.ts: digests each parcel, holds it until it learns which chunks are new, and compresses those.
 * It also packs the image's bootstrap. Requests are answered in order.
 *
 * @module
 */
import { concatenate } from "../../base/bytes.ts";
import { NydusGdError } from "../../base/errors.ts";
import { collectGarbage } from "../../base/garbage.ts";
import { sendError, type SentError, serveChannels } from "../../base/worker_pool.ts";
import { prepareDigests } from "../../blob/codec/codec.ts";
import type { Digester } from "../../rafs/bootstrap.ts";
import { GzipParts } from "../gzip_parts.ts";
import type { Compression } from "./compression.ts";
import { digestParcel, type Parcel, type ParcelUnits, type StoredUnits, storeParcel } from "./parcel.ts";

/**
 * Requests to the Worker: a parcel with an id, then for that id the units to store; or the parts of a gzip stream; or a
 * notice that it will be idle for a while.
 */
export type CompressRequest =
  | { readonly type: "take"; readonly number: number; readonly parcel: Parcel; readonly digester: Digester }
  | {
    readonly type: "store";
    readonly number: number;
    readonly units: ParcelUnits;
    readonly compression: Compression;
  }
  | { readonly type: "gzip"; readonly parts: PackedParts; readonly isFirst: boolean; readonly isLast: boolean }
  | { readonly type: "rest" };

/** Consecutive parts of a gzip stream. */
export interface PackedParts {
  /** All parts, and possibly more room. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** End of each part. */
  readonly ends: Uint32Array<ArrayBuffer>;
}

/** Replies of the Worker, one per request. */
export type CompressReply =
  | { readonly type: "taken"; readonly digests: Uint8Array<ArrayBuffer> }
  /** In the parcel's own memory. */
  | { readonly type: "stored"; readonly stored: StoredUnits }
  /** Output so far; `room` is the memory of the parts. */
  | { readonly type: "gzipped"; readonly packed: Uint8Array<ArrayBuffer>; readonly room: Uint8Array<ArrayBuffer> }
  | { readonly type: "rested" }
  | { readonly type: "failed"; readonly error: SentError };

/** Initialised with the digester of the first parcel. */
let ready: Promise<void> | undefined;

serveChannels<CompressRequest, CompressReply>((reply) => {
  const held = new Map<number, Parcel>();
  let gzip: GzipParts | undefined;
  const pack = async ({ bytes, ends }: PackedParts, isFirst: boolean, isLast: boolean): Promise<void> => {
    if (isFirst || gzip === undefined) gzip = new GzipParts();
    for (const [k, end] of ends.entries()) await gzip.add(bytes.subarray(ends[k - 1] ?? 0, end));
    if (isLast) await gzip.end();
    const packed = concatenate(gzip.take());
    reply({ type: "gzipped", packed, room: bytes }, [packed.buffer, bytes.buffer]);
  };
  const work = (request: CompressRequest): void | Promise<void> => {
    if (request.type === "rest") {
      collectGarbage();
      return reply({ type: "rested" });
    }
    if (request.type === "gzip") return pack(request.parts, request.isFirst, request.isLast);
    const { number } = request;
    if (request.type === "take") {
      held.set(number, request.parcel);
      const digests = digestParcel(request.parcel, request.digester);
      return reply({ type: "taken", digests }, [digests.buffer]);
    }
    const parcel = held.get(number);
    if (parcel === undefined) throw new NydusGdError("internal", `Cannot compress: parcel ${number} is not here`);
    held.delete(number);
    const stored = storeParcel(parcel, request.units, request.compression);
    reply({ type: "stored", stored }, [stored.bytes.buffer]);
  };
  const answer = async (request: CompressRequest): Promise<void> => {
    try {
      if (request.type === "take") ready ??= prepareDigests(request.digester);
      await ready;
      await work(request);
    } catch (error) {
      reply({ type: "failed", error: sendError(error) });
    }
  };
  let last: Promise<void> = Promise.resolve();
  return {
    onMessage: (request) => {
      last = last.then(() => answer(request));
    },
  };
});
