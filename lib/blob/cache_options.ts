/**
 * Options of a cache, and the parts that all its blobs share, made accordingly.
 *
 * @module
 */
import { Limiter } from "../base/limiter.ts";
import type { CacheParts } from "./blob_context.ts";
import { CacheFolder } from "./cache/cache_folder.ts";
import type { CacheLimits } from "./cache/cache_limits.ts";
import { Decoder } from "./decode/decoder.ts";
import { FetchQueue } from "./fetch/fetch_queue.ts";
import { FetchTuner, type FetchTuning } from "./fetch/fetch_tuning.ts";
import { LinkEstimate } from "./fetch/link_estimate.ts";
import { ResponseBuffers } from "./fetch/response_buffers.ts";

/** Tuning of the cache. */
export interface BlobCacheOptions extends FetchTuning {
  /** Maximum concurrent reads of sources. */
  readonly parallelRequests: number;
  /** Maximum of these that are read-ahead. */
  readonly parallelReadAhead: number;
  /** Milliseconds without an on-demand read before prefetch starts. */
  readonly prefetchQuietMs: number;
  /** Maximum bytes of a request for more than one chunk. */
  readonly maxRequestBytes: number;
  /** Maximum bytes of a gap between chunks that is fetched along. */
  readonly maxGapBytes: number;
  /** Decode Workers; 0: decode in the calling thread. */
  readonly decodeWorkers: number;
  /** Maximum plain bytes of a piece that is decoded in the calling thread. */
  readonly inlineDecodeBytes: number;
  /** Milliseconds without a job after which decode Workers are terminated and response buffers are freed. */
  readonly idleDecodeMs: number;
  /** Milliseconds after which a ready chunk is recorded on disk. */
  readonly flushAfterMs: number;
  /** Plain bytes of ready chunks after which they are recorded on disk. */
  readonly flushAfterBytes: number;
  /** Milliseconds between looks for holes that other programs make in a cache file. */
  readonly lookForHolesMs: number;
  /** Whether the cache persists for the next server. */
  readonly keep: boolean;
  /** See {@link CacheFolder.open}. */
  readonly setBy: string | undefined;
  /** Estimate of the link to start with; updated by reads. */
  readonly link: LinkEstimate | undefined;
  /** Size limits of the cache; undefined: limited only by its disk. */
  readonly limits: CacheLimits | undefined;
}

/** Options of a cache for which nothing else is wanted. */
export const CACHE_DEFAULTS: BlobCacheOptions = {
  parallelRequests: 8,
  parallelReadAhead: 4,
  parallelPrefetch: 2,
  readAheadBytes: 1024 * 1024,
  hasSurroundings: false,
  prefetchRequestBytes: 1024 * 1024,
  prefetchBytesPerSecond: undefined,
  prefetchQuietMs: 30,
  maxRequestBytes: 8 * 1024 * 1024,
  maxGapBytes: 8 * 1024,
  decodeWorkers: 2,
  inlineDecodeBytes: 128 * 1024,
  idleDecodeMs: 10_000,
  flushAfterMs: 1000,
  flushAfterBytes: 64 * 1024 * 1024,
  lookForHolesMs: 60_000,
  keep: true,
  setBy: undefined,
  link: undefined,
  limits: undefined,
};

/**
 * Opens the directory and makes the shared parts. They know nothing of free space yet.
 *
 * @throws {NydusGdError} "busy" when another server owns the directory, "io"
 */
export function openParts(dir: string, options: BlobCacheOptions): Omit<CacheParts, "room" | "isExhausted"> {
  const { keep, setBy, parallelRequests, maxRequestBytes, idleDecodeMs } = options;
  const { flushAfterMs, flushAfterBytes, lookForHolesMs } = options;
  const link = options.link ?? new LinkEstimate();
  const tuner = new FetchTuner(options, { maxRequest: maxRequestBytes, maxGap: options.maxGapBytes }, link);
  return {
    folder: keep ? CacheFolder.open(dir, setBy) : CacheFolder.openTransient(dir, setBy),
    decoder: new Decoder({
      workers: options.decodeWorkers,
      inlineBytes: options.inlineDecodeBytes,
      idleMs: idleDecodeMs,
    }),
    queue: new FetchQueue({
      limit: parallelRequests,
      readAheadLimit: Math.min(options.parallelReadAhead, parallelRequests - 1), // leaves a slot for an on-demand read
      prefetchLimit: () => tuner.parallelPrefetch(),
      quietMs: options.prefetchQuietMs,
      prefetchRate: () => tuner.current.prefetchBytesPerSecond,
    }),
    link,
    memory: new ResponseBuffers(maxRequestBytes, idleDecodeMs),
    tuner,
    transfers: new Limiter(Math.max(1, parallelRequests >> 1)), // leaves connections for other blobs
    flush: keep ? { flushAfterMs, flushAfterBytes, lookForHolesMs } : undefined,
  };
}
