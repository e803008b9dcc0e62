/**
 * The document of `GET /v1/status`: what the daemon tells of itself, and `nydus-gd status` shows.
 *
 * Names are the contract with other programs. Amounts are bytes, unless the name says another unit. What is about
 * fetching counts from the start of the daemon, or for a blob from when it was opened.
 *
 * @module
 */
import * as v from "valibot";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const BlobStatus = v.object({
  id: v.string(),
  /** At its home; 0: not known. */
  compressed_bytes: count,
  /** In the cache, when all of it is there; 0: not known. */
  uncompressed_bytes: count,
  fetched_bytes: count,
  chunks: count,
  /** Verified and in the cache; 0 until something was read. */
  chunks_ready: count,
  requests: count,
  failed_requests: count,
  corrupt_chunks: count,
});

const ImageStatus = v.object({
  /** The bootstrap layer's; what the routes below /v1/mounts/ want. */
  layer: v.string(),
  /** Names that Docker knows images with this layer by; sorted. */
  names: v.array(v.string()),
  home: v.string(),
  fs_driver: v.string(),
  /** Why that is not the data path that was chosen; null where it is. */
  refusal: v.optional(v.nullable(v.string()), null),
  path: v.string(),
  /** Layers that stand on it now, and the containers that they belong to: null for a build, or one that is being made. */
  used_by: v.optional(
    v.array(v.object({ layer: v.string(), container: v.nullable(v.string()), name: v.nullable(v.string()) })),
    [],
  ),
  /** Reads that had to wait for data, since it was mounted or taken over. */
  misses: v.optional(count, 0),
  /** Of the last ten seconds. */
  misses_per_second: v.optional(v.number(), 0),
  blobs: v.array(BlobStatus),
  prefetch: v.nullable(v.object({ state: v.string(), ready_bytes: count, failures: count })),
  /** What went wrong and has not gone right since. */
  errors: v.array(v.string()),
});

/** The document. Unknown members are passed over: a later daemon may tell more. */
export const StatusDocument = v.object({
  version: v.string(),
  pid: count,
  started_at: v.string(),
  uptime_seconds: count,
  kernel: v.string(),
  root: v.string(),
  log_level: v.string(),
  data_path: v.object({ fs_driver: v.string(), reason: v.string() }),
  /** null where the folder cannot be looked at; a problem says why. */
  cache: v.object({
    dir: v.string(),
    usage: v.nullable(v.object({
      used_bytes: count,
      /** Copies beside them in the kernel's own cache; those that have no name yet are not seen. */
      kernel_bytes: v.optional(count, 0),
      free_bytes: count,
      total_bytes: count,
    })),
  }),
  fetched: v.object({ bytes: count, requests: count, failed_requests: count, corrupt_chunks: count }),
  /** null: no image was mounted yet, or the session has ended. */
  fuse: v.nullable(
    v.object({ requests: count, cached_reads: count, cached_read_bytes: count, misses: count, waiting_reads: count }),
  ),
  /** null until Docker has sent its first call. */
  layers: v.nullable(v.object({ home: v.string(), mounted: count })),
  images: v.array(ImageStatus),
  problems: v.array(v.object({ severity: v.picklist(["failed", "degraded"]), message: v.string() })),
});
export type StatusDocument = v.InferOutput<typeof StatusDocument>;
export type ImageStatus = v.InferOutput<typeof ImageStatus>;
