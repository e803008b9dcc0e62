/**
 * Worker of compress_pool.ts: digests each parcel, holds it until it learns which chunks are new, and compresses those.
 * It also deflates blocks of the image's bootstrap. Requests are answered in order.
 *
 * @module
 */
import { NydusGdError } from "../../../base/errors.ts";
import { collectGarbage } from "../../../base/garbage.ts";
import { sendError, type SentError, serveChannels } from "../../../base/worker_pool.ts";
import { prepareDigests } from "../../../blob/codec/codec.ts";
import type { Digester } from "../../../rafs/bootstrap.ts";
import { deflateBlock } from "../../build/gzip_blocks.ts";
import type { Compression } from "../format/compression.ts";
import { digestParcel, type Parcel, type ParcelUnits, type StoredUnits, storeParcel } from "./parcel.ts";

/**
 * Requests to the Worker: a parcel with an id, then for that id the units to store; or a block to deflate, which is the
 * beginning of `bytes`; or a notice that it will be idle for a while.
 */
export type CompressRequest =
  | { readonly type: "take"; readonly number: number; readonly parcel: Parcel; readonly digester: Digester }
  | {
    readonly type: "store";
    readonly number: number;
    readonly units: ParcelUnits;
    readonly compression: Compression;
  }
  | { readonly type: "deflate"; readonly bytes: Uint8Array<ArrayBuffer>; readonly sizeBytes: number }
  | { readonly type: "rest" };

/** Replies of the Worker, one per request. */
export type CompressReply =
  | { readonly type: "taken"; readonly digests: Uint8Array<ArrayBuffer> }
  /** In the parcel's own memory. */
  | { readonly type: "stored"; readonly stored: StoredUnits }
  /** `room` is the memory of the block. */
  | { readonly type: "deflated"; readonly deflated: Uint8Array<ArrayBuffer>; readonly room: Uint8Array<ArrayBuffer> }
  | { readonly type: "rested" }
  | { readonly type: "failed"; readonly error: SentError };

/** Initialised with the digester of the first parcel. */
let ready: Promise<void> | undefined;

serveChannels<CompressRequest, CompressReply>((reply) => {
  const held = new Map<number, Parcel>();
  const work = (request: CompressRequest): void => {
    if (request.type === "rest") {
      collectGarbage();
      return reply({ type: "rested" });
    }
    if (request.type === "deflate") {
      const { bytes, sizeBytes } = request;
      const deflated = deflateBlock(bytes.subarray(0, sizeBytes));
      return reply({ type: "deflated", deflated, room: bytes }, [deflated.buffer, bytes.buffer]);
    }
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
      work(request);
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
