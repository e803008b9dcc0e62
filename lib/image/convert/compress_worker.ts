/**
 * Worker that compresses parcels for compress_pool.ts, in the order in which they come.
 *
 * @module
 */
import { sendError, type SentError, serveChannels } from "../../base/worker_pool.ts";
import { type Compression, compressParcel, type Parcel } from "./compression.ts";

/** To the Worker. */
export interface CompressRequest {
  readonly parcel: Parcel;
  readonly compression: Compression;
}

/** From the Worker, one for each request, in their order. The memory of the plain bytes comes back, to be filled again. */
export type CompressReply =
  & { readonly plain: ArrayBuffer }
  & ({ readonly parcel: Parcel } | { readonly error: SentError });

serveChannels<CompressRequest, CompressReply>((reply) => ({
  onMessage: ({ parcel, compression }) => {
    const plain = parcel.bytes.buffer;
    try {
      const stored = compressParcel(parcel, compression);
      reply({ plain, parcel: stored }, [plain, stored.bytes.buffer]);
    } catch (error) {
      reply({ plain, error: sendError(error) }, [plain]);
    }
  },
}));
