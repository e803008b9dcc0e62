/**
 * Worker of applier.ts. Unpacks any number of layers concurrently, interleaving their pieces.
 *
 * @module
 */
import { sendError, type SentError, serveChannels } from "../../base/worker_pool.ts";
import { type AppliedLayer, LayerUnpacking } from "./apply.ts";
import type { IdMaps } from "../userns/id_maps.ts";

/** Requests to the Worker, in this order. Nothing follows "finish" or "cancel". */
export type ApplyRequest =
  | { readonly kind: "begin"; readonly diffDir: string; readonly idMaps: IdMaps }
  | { readonly kind: "piece"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "finish" }
  | { readonly kind: "cancel" };

/** Replies of the Worker. After "done", "failed" or "cancelled" it does not touch the layer any more. */
export type ApplyReply =
  /** Returns the piece's memory for reuse. */
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
