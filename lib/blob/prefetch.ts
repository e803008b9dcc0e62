/**
 * Prefetch: fetches ranges in order, a few at a time, with the capacity of the link that on-demand reads leave free or,
 * where readers are about to need them, concurrently with those reads.
 *
 * fetch/fetch_queue.ts decides when a request starts. Only as much is requested here as can be in flight, so that
 * stopping is immediate and the order is kept. A range that fails is skipped: a reader that needs it will request it.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { hasCode, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Blob } from "./blob.ts";
import type { Urgency } from "./fetch/fetch_queue.ts";

const log = logger("blob", "prefetch");

/** Consecutive failures after which a prefetch is given up. */
const MAX_FAILURES = 8;

/** A range of a blob's uncompressed address space, in bytes. */
export interface PrefetchRange {
  readonly store: Pick<Blob, "id" | "ensure">;
  readonly offset: number;
  readonly length: number;
}

/** "prefetch": with the capacity that readers leave free. "read-ahead": concurrently with readers. */
export type PrefetchUrgency = Exclude<Urgency, "on-demand">;

/** How to prefetch. */
export interface PrefetchOptions {
  readonly signal: AbortSignal;
  /** Called for each piece. Default "prefetch". */
  readonly urgency?: () => PrefetchUrgency;
  /** Awaited before each piece; false ends the prefetch. */
  readonly turn?: () => boolean | Promise<boolean>;
  /** Ranges in flight at once. Default 4. */
  readonly concurrency?: number;
  /** Maximum bytes requested at once; longer ranges are split. Default 1 MiB. */
  readonly pieceBytes?: number;
}

/** Result of a prefetch. */
export interface PrefetchResult {
  /** Plain bytes of the ranges that are now ready. */
  readonly readyBytes: number;
  readonly failures: number;
  /** False if it gave up because of failures or was ended by {@link PrefetchOptions.turn}. */
  readonly complete: boolean;
}

/**
 * Prefetches `ranges` in the given order.
 *
 * @throws {NydusGdError} "interrupted" when the signal is aborted; a failed range is not an error
 */
export async function prefetch(ranges: Iterable<PrefetchRange>, options: PrefetchOptions): Promise<PrefetchResult> {
  const { signal, urgency = () => "prefetch", turn = () => true } = options;
  const { concurrency = 4, pieceBytes = 1024 * 1024 } = options;
  const pieces = piecesOf(ranges, pieceBytes);
  let readyBytes = 0, failures = 0, failuresInARow = 0, ended = false;
  const runner = async () => {
    for (const { store, offset, length } of pieces) {
      throwIfAborted(signal);
      ended ||= !await turn();
      if (ended || failuresInARow >= MAX_FAILURES) return;
      try {
        await store.ensure(offset, length, urgency(), signal);
        readyBytes += length;
        failuresInARow = 0;
      } catch (error) {
        throwIfAborted(signal);
        failures++;
        failuresInARow++;
        log.debug("range not prefetched", { blob: store.id, offset, length, error: messageOf(error) });
        if (hasCode(error, "interrupted")) failuresInARow = MAX_FAILURES; // the blob is being closed
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: concurrency }, runner));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return { readyBytes, failures, complete: !ended && failuresInARow < MAX_FAILURES };
}

/** A single iterator for all runners: each `for … of` continues where another stopped. */
function piecesOf(ranges: Iterable<PrefetchRange>, pieceBytes: number): Iterable<PrefetchRange> {
  const pieces = cut(ranges, pieceBytes);
  return { [Symbol.iterator]: () => ({ next: () => pieces.next() }) };
}

function* cut(ranges: Iterable<PrefetchRange>, pieceBytes: number): Generator<PrefetchRange> {
  for (const { store, offset, length } of ranges) {
    for (let at = 0; at < length; at += pieceBytes) {
      yield { store, offset: offset + at, length: Math.min(pieceBytes, length - at) };
    }
  }
}
