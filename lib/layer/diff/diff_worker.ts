/**
 * Worker of differ.ts that compares and packs layers.
 *
 * Runs off the main thread not only for speed: reading a file of a lazy image blocks until the main thread has fetched
 * it.
 *
 * @module
 */
import { sendError, type SentError, serveChannels } from "../../base/worker_pool.ts";
import { type Change, stackChanges, type StackPair } from "./changes.ts";
import { diffSize, diffTar } from "./diff.ts";
import { type DiskUsage, diskUsage } from "./disk_usage.ts";
import type { Pieces } from "./diff_output.ts";

/** Requests to the Worker: one of the first four, then "next" for each further piece of a tar, "cancel" to stop it. */
export type DiffRequest =
  | { readonly kind: "tar"; readonly pair: StackPair }
  | { readonly kind: "changes"; readonly pair: StackPair }
  | { readonly kind: "size"; readonly pair: StackPair }
  | { readonly kind: "usage"; readonly folder: string }
  | { readonly kind: "next" }
  | { readonly kind: "cancel" };

/** Replies of the Worker: one per request except "cancel". None after "end" or "failed". */
export type DiffReply =
  | { readonly kind: "piece"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "end" }
  | { readonly kind: "changes"; readonly changes: Change[] }
  | { readonly kind: "size"; readonly sizeBytes: number }
  | { readonly kind: "usage"; readonly usage: DiskUsage }
  | { readonly kind: "failed"; readonly error: SentError };

serveChannels<DiffRequest, DiffReply>((reply, done) => {
  let pieces: Pieces | undefined;

  const next = () => {
    const step = pieces?.next();
    if (step === undefined || step.done) {
      done();
      reply({ kind: "end" });
    } else {
      reply({ kind: "piece", bytes: step.value }, [step.value.buffer]);
    }
  };
  const handle = (request: DiffRequest) => {
    switch (request.kind) {
      case "tar":
        pieces = diffTar(request.pair);
        return next();
      case "next":
        return next();
      case "changes":
        done();
        return reply({ kind: "changes", changes: stackChanges(request.pair) });
      case "size":
        done();
        return reply({ kind: "size", sizeBytes: diffSize(request.pair) });
      case "usage":
        done();
        return reply({ kind: "usage", usage: diskUsage(request.folder) });
      case "cancel":
        done();
        pieces?.return(); // closes its descriptors
    }
  };
  return {
    onMessage: (request) => {
      try {
        handle(request);
      } catch (error) {
        done();
        reply({ kind: "failed", error: sendError(error) });
      }
    },
  };
});
