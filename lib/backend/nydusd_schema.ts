/**
 * Schemas of nydusd's configuration file in both versions; those of backends are in backend_config.ts.
 *
 * Source: dragonflyoss/nydus 34e6071e, api/src/config.rs.
 *
 * @module
 */
import * as v from "valibot";
import { BACKEND_TYPES, count, flag, text } from "./backend_config.ts";

/** Maximum configurable bytes per request. */
export const MAX_BATCH = 0x1000_0000;
export const MAX_BATCH_WORDS = `must be at most ${MAX_BATCH}`;
export const MAX_THREADS = 1024;
/** Without the limits, which apply only if prefetch is enabled. */
const prefetchBatch = v.optional(count, 1 << 20);
const threads = v.optional(count, 8);
const batch = v.optional(v.pipe(count, v.maxValue(MAX_BATCH, MAX_BATCH_WORDS)), 1 << 20);
const rate = v.optional(v.pipe(count, v.maxValue(0xffff_ffff, "must be at most 4294967295")), 0);

const fileCacheSchema = v.object({
  work_dir: text,
  disable_indexed_map: flag,
  enable_encryption: flag,
  enable_convergent_encryption: flag,
  encryption_key: text,
});
const cacheType = v.optional(v.picklist(["", "blobcache", "filecache", "fscache", "dummycache"]), "");
const externalBackends = v.optional(v.array(v.unknown()), []);
const rafsFlags = {
  iostats_files: flag,
  enable_xattr: flag,
  access_pattern: flag,
  latest_read_files: flag,
};
const mode = v.picklist(["direct", "cached"]);
const backendType = v.picklist(BACKEND_TYPES);

/** Version 1 ("factory"), JSON. */
export const V1 = v.object({
  device: v.object({
    id: text,
    backend: v.object({
      type: v.picklist(BACKEND_TYPES.filter((type) => type !== "http-proxy")),
      config: v.unknown(),
    }),
    external_backends: externalBackends,
    cache: v.optional(
      v.object({
        type: cacheType,
        compressed: flag,
        validate: flag,
        config: v.nullish(fileCacheSchema, {}),
      }),
      {},
    ),
  }),
  mode,
  digest_validate: flag,
  ...rafsFlags,
  amplify_io: batch,
  fs_prefetch: v.optional(
    v.object({
      enable: flag,
      threads_count: threads,
      merging_size: prefetchBatch,
      bandwidth_rate: rate,
      prefetch_all: v.optional(v.boolean(), true),
      stream_prefetch: flag,
    }),
    {},
  ),
});

const V2_PREFETCH = v.object({
  enable: v.boolean(),
  threads,
  batch_size: prefetchBatch,
  bandwidth_limit: rate,
  prefetch_all: flag,
  stream_prefetch: flag,
});

/** Version 2, JSON or TOML. */
export const V2 = v.object({
  version: v.literal(2),
  id: text,
  backend: v.object({
    type: backendType,
    ...Object.fromEntries(BACKEND_TYPES.map((type) => [type, v.optional(v.unknown())])),
  }),
  external_backends: externalBackends,
  cache: v.nullish(
    v.object({
      type: cacheType,
      compressed: flag,
      validate: flag,
      prefetch: v.optional(V2_PREFETCH),
      filecache: v.nullish(fileCacheSchema),
      fscache: v.nullish(v.object({ work_dir: text })),
    }),
    {},
  ),
  rafs: v.nullish(
    v.object({
      mode: v.optional(mode, "direct"),
      batch_size: batch,
      validate: flag,
      ...rafsFlags,
      prefetch: v.optional(V2_PREFETCH),
    }),
    {},
  ),
  overlay: v.optional(v.unknown()),
});

/** Settings of the cache files. */
export type FileCacheSection = v.InferOutput<typeof fileCacheSchema>;
export type CacheType = v.InferOutput<typeof cacheType>;
