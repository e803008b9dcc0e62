/**
 * Schema of `GET /v1/status`, which `nydus-gd status` displays.
 *
 * Member names are a stable interface. Amounts are in bytes unless the name states another unit. Fetch counters start
 * with the daemon, or for a blob when it is opened.
 *
 * @module
 */
import * as v from "valibot";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));

const BlobStatus = v.object({
  id: v.string(),
  /** Size in the backend; 0: unknown. */
  compressed_bytes: count,
  /** Size in the cache when complete; 0: unknown. */
  uncompressed_bytes: count,
  fetched_bytes: count,
  chunks: count,
  /** Verified and cached; 0 until the first read. */
  chunks_ready: count,
  requests: count,
  failed_requests: count,
  corrupt_chunks: count,
});

const ImageStatus = v.object({
  /** ID of the bootstrap layer, as used in the routes below /v1/mounts/. */
  layer: v.string(),
  /** Sorted names of the Docker images that contain this layer. */
  names: v.array(v.string()),
  home: v.string(),
  fs_driver: v.string(),
  /** Why the image does not use the chosen data path; null if it does. */
  refusal: v.optional(v.nullable(v.string()), null),
  path: v.string(),
  /** Layers that use the image, and their containers; null for a build or a container being created. */
  used_by: v.optional(
    v.array(v.object({ layer: v.string(), container: v.nullable(v.string()), name: v.nullable(v.string()) })),
    [],
  ),
  /** Reads that had to wait for data, since the mount or takeover. */
  misses: v.optional(count, 0),
  /** Average over the last ten seconds. */
  misses_per_second: v.optional(v.number(), 0),
  blobs: v.array(BlobStatus),
  prefetch: v.nullable(v.object({ state: v.string(), ready_bytes: count, failures: count })),
  /** Failures that have not been followed by a success. */
  errors: v.array(v.string()),
});

/** The document. Unknown members are ignored, since a later daemon may add some. */
export const StatusDocument = v.object({
  version: v.string(),
  pid: count,
  started_at: v.string(),
  uptime_seconds: count,
  kernel: v.string(),
  root: v.string(),
  log_level: v.string(),
  data_path: v.object({ fs_driver: v.string(), reason: v.string() }),
  /** usage is null if the folder cannot be read; a problem says why. */
  cache: v.object({
    dir: v.string(),
    usage: v.nullable(v.object({
      used_bytes: count,
      /** Size of the copies in the kernel's own cache; objects without a name yet are not counted. */
      kernel_bytes: v.optional(count, 0),
      free_bytes: count,
      total_bytes: count,
    })),
  }),
  fetched: v.object({ bytes: count, requests: count, failed_requests: count, corrupt_chunks: count }),
  /** null if no image has been mounted yet, or the session has ended. */
  fuse: v.nullable(
    v.object({ requests: count, cached_reads: count, cached_read_bytes: count, misses: count, waiting_reads: count }),
  ),
  /** null until Docker's first call. */
  layers: v.nullable(v.object({ home: v.string(), mounted: count })),
  /** Of containerd; absent if none are served. */
  snapshots: v.exactOptional(v.object({ dir: v.string(), count })),
  images: v.array(ImageStatus),
  problems: v.array(v.object({ severity: v.picklist(["failed", "degraded"]), message: v.string() })),
});
export type StatusDocument = v.InferOutput<typeof StatusDocument>;
export type ImageStatus = v.InferOutput<typeof ImageStatus>;
