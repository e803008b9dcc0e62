/**
 * Worker that compresses chunks for compress_pool.ts, in the order in which they come.
 *
 * @module
 */
import { sendError, type SentError, serveChannels } from "../../base/worker_pool.ts";
import { compressChunk, type Compression } from "./compression.ts";

/** To the Worker. */
export interface CompressRequest {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly compression: Compression;
}

/** From the Worker, one for each request, in their order. */
export type CompressReply =
  & { readonly plainBytes: number }
  & ({ readonly stored: Uint8Array<ArrayBuffer> } | { readonly error: SentError });

serveChannels<CompressRequest, CompressReply>((reply) => ({
  onMessage: ({ plain, compression }) => {
    const plainBytes = plain.length;
    try {
      const stored = compressChunk(plain, compression);
      reply({ plainBytes, stored }, [stored.buffer]);
    } catch (error) {
      reply({ plainBytes, error: sendError(error) });
    }
  },
}));
