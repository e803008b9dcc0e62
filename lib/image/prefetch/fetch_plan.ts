/**
 * Derives prefetch and read-ahead from the settings and nydusd's configuration.
 *
 * Either one can disable prefetch or limit it; of two limits the smaller one applies. If the configuration does not
 * mention prefetch, the settings decide: by default the image becomes complete after a while, as after a `docker pull`.
 *
 * @module
 */
import type { NydusdConfig } from "../../backend/nydusd_config.ts";
import type { Settings } from "../../base/settings.ts";
import type { BlobCacheOptions } from "../../blob/blob_cache.ts";
import type { FetchTuning } from "../../blob/fetch/fetch_tuning.ts";
import type { ImagePrefetchOptions } from "./image_prefetch.ts";

/** Maximum concurrent prefetch requests, whatever the configured threads. On-demand reads have slots of their own. */
const MAX_PARALLEL = 4;

/** Minimum size to which nydusd extends and merges reads, whatever its configuration. */
const MIN_REQUEST_BYTES = 128 * 1024;

type PrefetchSettings = Pick<Settings, "prefetch">;

/** Returns the options of a cache: {@link fetchTuning}, and what cannot be changed later. */
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

/** Returns what to prefetch of an image on mount; undefined: nothing. */
export function prefetchScope(
  { prefetch: { enabled } }: PrefetchSettings,
  config: Pick<NydusdConfig, "prefetch"> | undefined,
): ImagePrefetchOptions["scope"] | undefined {
  if (!enabled) return undefined;
  if (config === undefined || !config.prefetch.configured) return "all";
  if (!config.prefetch.enable) return undefined;
  return config.prefetch.prefetchAll ? "all" : "listed";
}

/**
 * Returns how the cache fetches. Unset values keep the cache's defaults.
 *
 * The surroundings of reads are fetched if all of the image will be, and as fast as the link allows: then they only come
 * earlier.
 */
export function fetchTuning(
  settings: PrefetchSettings,
  config: Pick<NydusdConfig, "prefetch" | "rafs"> | undefined,
): Partial<FetchTuning> {
  const { prefetch: { bandwidth, readAheadBytes } } = settings;
  const rate = smallest(bandwidth, config?.prefetch.bandwidthLimit || undefined);
  const amplified = config === undefined ? undefined : Math.max(MIN_REQUEST_BYTES, config.rafs.batchSizeBytes);
  const most = smallest(readAheadBytes, amplified);
  const ahead = {
    prefetchBytesPerSecond: rate,
    hasSurroundings: rate === undefined && prefetchScope(settings, config) === "all",
    ...(most === undefined ? {} : { readAheadBytes: most }),
  };
  if (config === undefined) return ahead;
  const { prefetch } = config;
  // nydusd applies these limits only while prefetch is enabled; otherwise they may have any value
  if (!prefetch.enable || prefetch.batchSizeBytes === 0) return ahead;
  return {
    ...ahead,
    parallelPrefetch: Math.min(MAX_PARALLEL, prefetch.threads),
    prefetchRequestBytes: Math.max(MIN_REQUEST_BYTES, prefetch.batchSizeBytes),
  };
}

/** Returns the smaller of two optional limits. */
function smallest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
