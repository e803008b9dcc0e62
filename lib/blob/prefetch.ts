/**
 * Fetching ahead of the readers: ranges in order, a few at a time, in what on-demand reads leave of the link or, where
 * readers are on their way to them, beside those reads.
 *
 * When to start is decided further down (fetch_queue.ts); here only as much is asked for as can be under way, so that
 * stopping is immediate and the order holds. A range that fails is passed over: whoever needs it asks for it.
 *
 * @module
 */
import { throwIfAborted } from "../base/abort.ts";
import { hasCode, messageOf } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Blob } from "./blob.ts";
import type { Urgency } from "./fetch/fetch_queue.ts";

const log = logger("blob", "prefetch");

/** A range of a blob's uncompressed address space, in bytes. */
export interface PrefetchRange {
  readonly store: Pick<Blob, "id" | "ensure">;
  readonly offset: number;
  readonly length: number;
}

/** "prefetch": in what readers leave of the link. "read-ahead": beside them. */
export type PrefetchUrgency = Exclude<Urgency, "on-demand">;

/** How to prefetch. */
export interface PrefetchOptions {
  readonly signal: AbortSignal;
  /** Asked for each piece. Default "prefetch". */
  readonly urgency?: () => PrefetchUrgency;
  /** Waited for before each piece; false ends the prefetch. */
  readonly turn?: () => boolean | Promise<boolean>;
  /** Ranges under way at once. Default 4. */
  readonly concurrency?: number;
  /** Bytes that are asked for at once; longer ranges are cut. Default 1 MiB. */
  readonly pieceBytes?: number;
  /** Failures in a row after which it is given up. Default 8. */
  readonly maxFailures?: number;
}

/** What became of it. */
export interface PrefetchResult {
  /** Bytes of the ranges that are ready, plain. */
  readonly readyBytes: number;
  readonly failures: number;
  /** False when it was given up because of failures, or ended by {@link PrefetchOptions.turn}. */
  readonly complete: boolean;
}

/**
 * Prefetches ranges in the order given.
 *
 * @throws {NydusGdError} "interrupted" when the signal is aborted; a failed range is no error
 */
export async function prefetch(ranges: Iterable<PrefetchRange>, options: PrefetchOptions): Promise<PrefetchResult> {
  const { signal, urgency = () => "prefetch", turn = () => true } = options;
  const { concurrency = 4, pieceBytes = 1024 * 1024, maxFailures = 8 } = options;
  const pieces = piecesOf(ranges, pieceBytes);
  let readyBytes = 0, failures = 0, failuresInARow = 0, ended = false;
  const runner = async () => {
    for (const { store, offset, length } of pieces) {
      throwIfAborted(signal);
      ended ||= !await turn();
      if (ended || failuresInARow >= maxFailures) return;
      try {
        await store.ensure(offset, length, urgency(), signal);
        readyBytes += length;
        failuresInARow = 0;
      } catch (error) {
        throwIfAborted(signal);
        failures++;
        failuresInARow++;
        log.debug("range not prefetched", { blob: store.id, offset, length, error: messageOf(error) });
        if (hasCode(error, "interrupted")) failuresInARow = maxFailures; // the blob is being closed
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: concurrency }, runner));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return { readyBytes, failures, complete: !ended && failuresInARow < maxFailures };
}

/** One iterator for all runners: `for … of` on it goes on where another stopped. */
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
