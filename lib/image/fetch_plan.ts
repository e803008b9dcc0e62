/**
 * What is fetched that nobody waits for, out of our settings and nydusd's configuration.
 *
 * Each of the two can switch prefetch off and bound it; where both bound it, the smaller one counts. A configuration
 * without a word on prefetch leaves it to the settings: then an image is complete here after a while, as after a
 * `docker pull`.
 *
 * @module
 */
import type { NydusdConfig } from "../backend/nydusd_config.ts";
import type { Settings } from "../base/settings.ts";
import type { BlobCacheOptions } from "../blob/blob_cache.ts";
import type { FetchTuning } from "../blob/fetch/fetch_tuning.ts";
import type { ImagePrefetchOptions } from "./lazy/image_prefetch.ts";

/** Prefetch requests at once, however many threads are configured: readers have places of their own beside them. */
const MAX_PARALLEL = 4;

/** To what nydusd at least extends and merges reads, whatever its configuration says. */
const MIN_REQUEST_BYTES = 128 * 1024;

type PrefetchSettings = Pick<Settings, "prefetch">;

/** How a cache is opened: {@link fetchTuning}, and what cannot be changed later. */
export function cacheOptions(
  settings: Pick<Settings, "prefetch" | "fetch" | "cache">,
  config: NydusdConfig | undefined,
): Partial<BlobCacheOptions> {
  return {
    ...fetchTuning(settings, config),
    parallelRequests: settings.fetch.parallelPerHost,
    keep: config?.cache.type !== "dummycache",
    limits: { maxSize: settings.cache.maxSize, minFree: settings.cache.minFree },
  };
}

/** What of an image is prefetched when it is mounted; undefined: nothing. */
export function prefetchScope(
  { prefetch: { enabled } }: PrefetchSettings,
  config: Pick<NydusdConfig, "prefetch"> | undefined,
): ImagePrefetchOptions["scope"] | undefined {
  if (!enabled) return undefined;
  if (config === undefined || !config.prefetch.configured) return "all";
  if (!config.prefetch.enable) return undefined;
  return config.prefetch.prefetchAll ? "all" : "listed";
}

/** How the cache fetches. What neither file names is left to the cache. */
export function fetchTuning(
  { prefetch: { bandwidth, readAheadBytes } }: PrefetchSettings,
  config: Pick<NydusdConfig, "prefetch" | "rafs"> | undefined,
): Partial<FetchTuning> {
  const rate = smallest(bandwidth, config?.prefetch.bandwidthLimit || undefined);
  const amplified = config === undefined ? undefined : Math.max(MIN_REQUEST_BYTES, config.rafs.batchSizeBytes);
  const most = smallest(readAheadBytes, amplified);
  const ahead = { prefetchBytesPerSecond: rate, ...(most === undefined ? {} : { readAheadBytes: most }) };
  if (config === undefined) return ahead;
  const { prefetch } = config;
  // limits of nydusd hold where it prefetches; elsewhere the file may say anything
  if (!prefetch.enable || prefetch.batchSizeBytes === 0) return ahead;
  return {
    ...ahead,
    parallelPrefetch: Math.min(MAX_PARALLEL, prefetch.threads),
    prefetchRequestBytes: Math.max(MIN_REQUEST_BYTES, prefetch.batchSizeBytes),
  };
}

/** The smaller of two limits, each of which may be missing. */
function smallest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
