/**
 * Worker of compress_pool.ts: digests each parcel, holds it until it learns which chunks are new, and compresses those.
 * Requests are answered in order.
 *
 * @module
 */
import { NydusGdError } from "../../base/errors.ts";
import { collectGarbage } from "../../base/garbage.ts";
import { sendError, type SentError, serveChannels } from "../../base/worker_pool.ts";
import { prepareDigests } from "../../blob/codec/codec.ts";
import type { Digester } from "../../rafs/bootstrap.ts";
import type { Compression } from "./compression.ts";
import { digestParcel, type Parcel, type ParcelUnits, type StoredUnits, storeParcel } from "./parcel.ts";

/**
 * Requests to the Worker: a parcel with an id, then for that id the units to store; or a notice that it will be idle
 * for a while.
 */
export type CompressRequest =
  | { readonly type: "take"; readonly number: number; readonly parcel: Parcel; readonly digester: Digester }
  | {
    readonly type: "store";
    readonly number: number;
    readonly units: ParcelUnits;
    readonly compression: Compression;
  }
  | { readonly type: "rest" };

/** Replies of the Worker, one per request. */
export type CompressReply =
  | { readonly type: "taken"; readonly digests: Uint8Array<ArrayBuffer> }
  /** In the parcel's own memory. */
  | { readonly type: "stored"; readonly stored: StoredUnits }
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
  return {
    onMessage: async (request) => {
      try {
        if (request.type === "take") ready ??= prepareDigests(request.digester);
        await ready;
        work(request);
      } catch (error) {
        reply({ type: "failed", error: sendError(error) });
      }
    },
  };
});
