/**
 * Worker that unpacks layers for applier.ts, any number at a time, a piece of one after a piece of another.
 *
 * @module
 */
import { sendError, type SentError, serveChannels } from "../base/worker_pool.ts";
import { type AppliedLayer, LayerUnpacking } from "./apply.ts";
import type { IdMaps } from "./id_maps.ts";

/** To the Worker, in this order. After "finish" or "cancel" nothing follows. */
export type ApplyRequest =
  | { readonly kind: "begin"; readonly diffDir: string; readonly idMaps: IdMaps }
  | { readonly kind: "piece"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "finish" }
  | { readonly kind: "cancel" };

/** From the Worker. After "done", "failed" or "cancelled" it does not touch the layer any more. */
export type ApplyReply =
  /** The piece's memory comes back, to be filled again. */
  | { readonly kind: "consumed"; readonly buffer: ArrayBuffer }
  | { readonly kind: "done"; readonly layer: AppliedLayer }
  | { readonly kind: "failed"; readonly error: SentError }
  | { readonly kind: "cancelled" };

serveChannels<ApplyRequest, ApplyReply>((reply, done) => {
  let unpacking: LayerUnpacking | undefined;
  let failed = false;

  const stop = () => {
    unpacking?.[Symbol.dispose]();
    unpacking = undefined;
  };
  const handle = (request: ApplyRequest) => {
    switch (request.kind) {
      case "begin":
        unpacking = new LayerUnpacking(request.diffDir, request.idMaps);
        return;
      case "piece":
        unpacking?.push(request.bytes);
        return reply({ kind: "consumed", buffer: request.bytes.buffer }, [request.bytes.buffer]);
      case "finish": {
        const layer = unpacking?.finish();
        stop();
        if (layer !== undefined) reply({ kind: "done", layer });
        return;
      }
      case "cancel":
        stop();
        return reply({ kind: "cancelled" });
    }
  };
  return {
    onMessage: (request) => {
      if (request.kind === "finish" || request.kind === "cancel") done();
      if (failed) return;
      try {
        handle(request);
      } catch (error) {
        failed = true;
        stop();
        reply({ kind: "failed", error: sendError(error) });
      }
    },
  };
});
